#!/usr/bin/env bash
# Train, evaluate, export and infer over devices, threads, batch sizes and precisions.
#     bash test_tipc/test_train_inference_python.sh CONFIG MODE
# The exit code is the number of failed steps.
set -euo pipefail
# shellcheck source=common_func.sh
source "$(dirname "${BASH_SOURCE[0]}")/common_func.sh"
func_open_config "$@"

# TIPC's layout: 51 lines, each known by its place.
func_require_line 2 model_name
func_require_line 15 trainer
func_require_line 24 eval
func_require_line 40 inference
[ ${#lines[@]} -ge 51 ] || func_die "config: ${#lines[@]} lines, expected 51"

func_know_machine
mkdir -p "$log_path"
rm -f "$status_log" "$log_path"/python_infer_*.log

func_inference() { # MODEL_DIR PICTURES LOG_DIR: every row of the matrix
    local use_gpu
    model_dir=$1 pictures=$2 logs=$3
    for use_gpu in ${use_gpu_list//|/ }; do
        case $use_gpu in
            False) func_cpu_rows ;;
            True) func_gpu_rows ;;
            *) func_die "config: $(func_key 40) $use_gpu, expected True or False" ;;
        esac
    done
}

func_cpu_rows() {
    local mkldnn threads batch precision reason
    for mkldnn in ${mkldnn_list//|/ }; do
        for threads in ${threads_list//|/ }; do
            for precision in ${precision_list//|/ }; do
                [ "$precision" != fp16 ] || continue # of GPUs
                for batch in ${batch_list//|/ }; do
                    func_infer_command False "$batch" "$precision" \
                        "$(func_set_params "$(func_key 41)" "$mkldnn")" \
                        "$(func_set_params "$(func_key 42)" "$threads")"
                    reason=""
                    if [ "$precision" = bf16 ]; then
                        reason=$(func_missing bf16)
                        [ "$mkldnn" = True ] || reason="bf16 is computed by oneDNN alone"
                    fi
                    func_row "cpu_usemkldnn_${mkldnn}_threads_${threads}" "$precision" "$batch" \
                        "$reason"
                done
            done
        done
    done
}

func_gpu_rows() {
    local tensorrt batch precision reason
    for tensorrt in ${tensorrt_list//|/ }; do
        for precision in ${precision_list//|/ }; do
            [ "$precision" != bf16 ] || continue                               # of CPUs
            [ "$precision$tensorrt" != fp16False ] || continue                 # of TensorRT
            for batch in ${batch_list//|/ }; do
                func_infer_command True "$batch" "$precision" \
                    "$(func_set_params "$(func_key 44)" "$tensorrt")"
                reason=$(func_missing gpu)
                [ "$tensorrt" != True ] || reason=${reason:-$(func_missing tensorrt)}
                func_row "gpu_usetrt_${tensorrt}" "$precision" "$batch" "$reason"
            done
        done
    done
}

func_infer_command() { # USE_GPU BATCH_SIZE PRECISION OPTIONS...
    func_command "$python" "$(func_value 39)" "$(func_key 40)=$1" "${@:4}" \
        "$(func_set_params "$(func_key 43)" "$2")" \
        "$(func_set_params "$(func_key 45)" "$3")" \
        "$(func_key 46)=$model_dir/$(basename "$(func_value 46)")" \
        "$(func_key 47)=$pictures" "$(func_param 48)" "$(func_param 49)" \
        "$(func_key 50)=$model_dir/$(basename "$(func_value 50)")"
}

func_row() { # NAME PRECISION BATCH_SIZE REASON: run it, or note the reason why not
    func_run "$logs/python_infer_${1}_precision_${2}_batchsize_${3}.log" "$4"
}

func_train() { # GPU USE_GPU AUTOCAST TRAINER: one training and all that follows from it
    local name=${4}_gpus_${1}_autocast_${3} run_train="" run_export="" device=null row_logs
    local save checkpoint line reason=""
    for line in 15 16 17 18 19 20; do # each trainer's export stands 14 lines behind it
        [ "$(func_key "$line")" = "$4" ] || continue
        run_train=$(func_value "$line") run_export=$(func_value "$((line + 14))")
    done
    [ "${run_train:-null}" != null ] || func_die "config: trainer $4 has no command"
    case $2 in
        True) device=gpu:$1 reason=$(func_missing gpu) ;;
        False) device=cpu ;;
    esac
    [ "$3" != bf16 ] || reason=${reason:-$(func_missing bf16)}
    case $1 in *,*) reason="a model is trained on one device" ;; esac

    save=$log_path/$name
    device=$(func_set_params --device "$device")
    precision=$(func_set_params --precision "$3")
    func_command "$python" "$run_train" "$(func_key 7)=$save" "$device" "$precision" \
        "$(func_param 6)" "$(func_param 8)" "$(func_param 9)" "$(func_param 12)"
    if [ -n "$reason" ]; then
        func_skip "$reason (nor are its evaluation, export and inference run)"
        return
    fi
    rm -rf "$save"
    func_step "$log_path/$name.log"
    # The first training's rows have TIPC's places; another's would overwrite them there.
    row_logs=$log_path
    $first || row_logs=$save
    first=false

    checkpoint=$save/$(func_value 10)
    if [ "$(func_value 23)" != null ]; then
        func_command "$python" "$(func_value 23)" "$(func_key 28)=$checkpoint" \
            "$(func_key 7)=$save" "$device" "$precision" "$(func_param 24)"
        func_step "$log_path/${name}_eval.log"
    fi
    if [ "${run_export:-null}" != null ]; then
        func_command "$python" "$run_export" "$(func_key 28)=$checkpoint" \
            "$(func_key 27)=$save/inference"
        func_step "$log_path/${name}_export.log"
        func_inference "$save/inference" "$(func_value 11)" "$row_logs"
    fi
}

use_gpu_list=$(func_value 40)
mkldnn_list=$(func_value 41)
threads_list=$(func_value 42)
batch_list=$(func_value 43)
tensorrt_list=$(func_value 44)
precision_list=$(func_value 45)
first=true

if [ "$mode" = whole_infer ]; then
    for model in $(func_value 36 | tr '|' ' '); do
        exported=$model
        if [ "$(func_value 37)" != null ]; then
            exported=$log_path/whole_infer
            rm -rf "$exported"
            func_command "$python" "$(func_value 37)" "$(func_key 28)=$model" \
                "$(func_key 27)=$exported"
            func_step "$log_path/whole_infer_export.log"
        fi
        func_inference "$exported" "$(func_value 47)" "$log_path"
    done
else
    IFS='|' read -r -a gpus <<< "$(func_value 3)"
    IFS='|' read -r -a use_gpus <<< "$(func_value 4)"
    for i in "${!gpus[@]}"; do
        for autocast in $(func_value 5 | tr '|' ' '); do
            for trainer in $(func_value 14 | tr '|' ' '); do
                func_train "${gpus[i]}" "${use_gpus[i]-null}" "$autocast" "$trainer"
            done
        done
    done
fi
func_finish
