#!/usr/bin/env bash
# Export a model unchanged and quantised to int8, and compare their scores.
#     bash test_tipc/test_ptq_inference_python.sh CONFIG MODE
# The exit code is the number of failed steps.
set -euo pipefail
# shellcheck source=common_func.sh
source "$(dirname "${BASH_SOURCE[0]}")/common_func.sh"
func_open_config "$@"
func_require_line 5 quant_export
func_require_keys norm_export quant_export --model_path --quantize --save_dir inference \
    --cpu_threads --batch_size --input_file compare
func_know_machine

threads_list=$(func_value_of --cpu_threads)
batch_list=$(func_value_of --batch_size)
func_start ptq --save_dir

func_kind() { # PRECISION EXPORT...: export one kind of graph and score pictures with it
    local threads batch reason=""
    [ "$1" = fp32 ] || reason=$(func_missing int8)
    func_command "$python" "${@:2}" "--model_path=$(func_value_of --model_path)" \
        "--save_dir=$save/$1"
    func_run "$log_path/export_$1.log" "$reason"
    for threads in ${threads_list//|/ }; do
        for batch in ${batch_list//|/ }; do
            func_command "$python" "$(func_value_of inference)" "--model_dir=$save/$1" \
                "--input_file=$(func_value_of --input_file)" "--precision=$1" \
                "--cpu_threads=$threads" "--batch_size=$batch"
            func_run "$log_path/python_infer_cpu_usemkldnn_True_threads_${threads}_precision_${1}_batchsize_${batch}.log" "$reason"
        done
    done
}

func_kind fp32 "$(func_value_of norm_export)"
func_kind int8 "$(func_value_of quant_export)" "--quantize=$(func_value_of --quantize)"
func_command "$python" "$(func_value_of compare)" \
    "--gt_file=$log_path/python_*_threads_1_precision_fp32_batchsize_1.log" \
    "--log_file=$log_path/python_*_precision_int8_*.log"
func_run "$log_path/compare.log" "$(func_missing int8)"
func_finish
