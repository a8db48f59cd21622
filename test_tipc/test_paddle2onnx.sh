#!/usr/bin/env bash
# Export a model for Paddle Inference and for ONNX Runtime, and compare their scores.
#     bash test_tipc/test_paddle2onnx.sh CONFIG MODE
# The exit code is the number of failed steps.
set -euo pipefail
# shellcheck source=common_func.sh
source "$(dirname "${BASH_SOURCE[0]}")/common_func.sh"
func_open_config "$@"
func_require_line 5 2onnx
func_require_keys export 2onnx --model_path --save_dir inference --input_file compare
func_know_machine

func_start paddle2onnx --save_dir

func_kind() { # NAME EXPORT SUFFIX: export one kind of graph and score pictures with it
    local reason=""
    [ "$1" = paddle ] || reason=$(func_missing onnx)
    func_command "$python" "$2" "--model_path=$(func_value_of --model_path)" "--save_dir=$save/$1"
    func_run "$log_path/export_$1.log" "$reason"
    func_command "$python" "$(func_value_of inference)" "$(func_option --use_gpu)" \
        "--model_file=$save/$1/model.$3" "--input_file=$(func_value_of --input_file)"
    func_run "$log_path/${1}_infer_cpu.log" "$reason"
}

func_kind paddle "$(func_value_of export)" json
func_kind onnx "$(func_value_of 2onnx)" onnx
func_command "$python" "$(func_value_of compare)" "--gt_file=$log_path/paddle_infer_cpu.log" \
    "--log_file=$log_path/onnx_infer_cpu.log"
func_run "$log_path/compare.log" "$(func_missing onnx)"
func_finish
