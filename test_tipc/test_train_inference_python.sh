#!/usr/bin/env bash
# Train, evaluate, export and infer over devices, threads, batch sizes and precisions.
#     bash test_tipc/test_train_inference_python.sh CONFIG MODE
# The exit code is the number of failed steps.
set -euo pipefail
# shellcheck source=common_func.sh
source "$(dirname "${BASH_SOURCE[0]}")/common_func.sh"
func_open_config "$@"

# TIPC's layout has 51 lines; the line number decides the meaning.
func_require_line 2 model_name
func_require_line 15 trainer
func_require_line 24 eval
func_require_line 40 inference
[ ${#lines[@]} -ge 51 ] || func_die "config: ${#lines[@]} lines, expected 51"

mkdir -p "$log_path"
rm -rf "$log_path"/*_gpus_* "$log_path"/whole_infer*
rm -f "$status_log" "$log_path"/python_infer_*.log
func_know_machine

func_inference() { # MODEL_DIR PICTURES LOG_DIR: every combination of options
    local use_gpu
    model_dir=$1 pictures=$2 logs=$3
    for use_gpu in ${use_gpu_list//|/ }; do
        if [ "$use_gpu" = True ]; then func_gpu_rows; else func_cpu_rows; fi
    done
}

func_cpu_rows() {
    local mkldnn threads batch precision reason
    for mkldnn in ${mkldnn_list//|/ }; do
        for threads in ${threads_list//|/ }; do
            for precision in ${precision_list//|/ }; do
                [ "$precision" != fp16 ] || continue # on GPUs only
                for batch in ${batch_list//|/ }; do
                    func_infer_command False "$batch" "$precision" \
                        "$(func_set_params "$(func_key 41)" "$mkldnn")" \
                        "$(func_set_params "$(func_key 42)" "$threads")"
                    reason=""
                    if [ "$precision" = bf16 ]; then
                        reason=$(func_missing bf16)
                        [ "$mkldnn" = True ] || reason="bf16 needs oneDNN"
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
            [ "$precision" != bf16 ] || continue               # on CPUs only
            [ "$precision$tensorrt" != fp16False ] || continue # with TensorRT only
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
    func_command "$python" "$(func_value 39)" "$(func_set_params "$(func_key 40)" "$1")" "${@:4}" \
        "$(func_set_params "$(func_key 43)" "$2")" \
        "$(func_set_params "$(func_key 45)" "$3")" \
        "$(func_in_model 46)" "$(func_set_params "$(func_key 47)" "$pictures")" \
        "$(func_param 48)" "$(func_param 49)" "$(func_in_model 50)"
}

func_in_model() { # INDEX: an option whose value is a file of the exported model
    local file
    file=$(basename "$(func_value "$1")")
    [ "$file" = null ] || file=$model_dir/$file
    func_set_params "$(func_key "$1")" "$file"
}

func_row() { # NAME PRECISION BATCH_SIZE REASON: run `words`, or skip it if there is a REASON
    func_run "$logs/python_infer_${1}_precision_${2}_batchsize_${3}.log" "$4"
}

func_next_logs() { # FOLDER: sets `row_logs`: TIPC's folder for the first rows, then FOLDER
    if $first; then row_logs=$log_path; else row_logs=$1; fi
    first=false
}

func_train() { # GPU AUTOCAST TRAINER: one training and all steps after it
    local name=${3}_gpus_${1}_autocast_${2} run_train run_export device=cpu precision
    local save checkpoint reason=""
    run_train=$(func_value "$(func_trainer "$3")")
    run_export=$(func_value "$(($(func_trainer "$3") + 14))") # 14 lines after it
    [ "$1" = -1 ] || device=gpu:$1
    [ "$1" = -1 ] || reason=$(func_missing gpu)
    [ "$2" != bf16 ] || reason=${reason:-$(func_missing bf16)}
    case $1 in *,*) reason="a model is trained on one device" ;; esac

    save=$log_path/$name
    precision=$(func_set_params --precision "$2")
    func_command "$python" "$run_train" "$(func_set_params "$(func_key 7)" "$save")" \
        "--device=$device" "$precision" \
        "$(func_param 6)" "$(func_param 8)" "$(func_param 9)" "$(func_param 12)"
    if [ -n "$reason" ]; then
        func_skip "$reason (its evaluation, export and inference are skipped too)"
        return
    fi
    func_step "$log_path/$name.log"
    func_next_logs "$save"

    checkpoint=$(func_set_params "$(func_key 28)" "$save/$(func_value 10)")
    if [ "$(func_value 23)" != null ]; then
        func_command "$python" "$(func_value 23)" "$checkpoint" \
            "$(func_set_params "$(func_key 7)" "$save")" \
            "--device=$device" "$precision" "$(func_param 24)"
        func_step "$log_path/${name}_eval.log"
    fi
    if [ "$run_export" != null ]; then
        func_command "$python" "$run_export" "$checkpoint" \
            "$(func_set_params "$(func_key 27)" "$save/inference")"
        func_step "$log_path/${name}_export.log"
        func_inference "$save/inference" "$(func_value 11)" "$row_logs"
    fi
}

func_trainer() { # NAME: the index of the line with its command
    local line
    for line in 15 16 17 18 19 20; do
        [ "$(func_key "$line")" != "$1" ] || printf '%s' "$line"
    done
}

func_whole_infer() { # MODEL: export an existing model, and infer
    local exported=$1 name
    name=whole_infer_$(basename "$(dirname "$1")")
    if [ "$(func_value 37)" != null ]; then
        exported=$log_path/$name
        func_command "$python" "$(func_value 37)" "$(func_set_params "$(func_key 28)" "$1")" \
            "$(func_set_params "$(func_key 27)" "$exported")"
        func_step "$log_path/${name}_export.log"
    fi
    func_next_logs "$log_path/$name"
    func_inference "$exported" "$(func_value 47)" "$row_logs"
}

func_one_of() { # INDEX WORDS...: every value of the line's list must be one of WORDS
    local value
    for value in $(func_value "$1" | tr '|' ' '); do
        case " ${*:2} " in
            *" $value "*) ;;
            *) func_die "config: $(func_key "$1"):$value, expected one of: ${*:2}" ;;
        esac
    done
}

func_validate() { # report wrong values before the first step
    local i trainer
    for i in 40 41 44; do func_one_of "$i" True False null; done
    func_one_of 45 fp32 fp16 bf16
    [ "$mode" != whole_infer ] || return 0
    func_one_of 5 fp32 bf16 null
    for trainer in $(func_value 14 | tr '|' ' '); do
        [ "$(func_trainer "$trainer")" ] &&
            [ "$(func_value "$(func_trainer "$trainer")")" != null ] ||
            func_die "config: trainer $trainer has no command"
    done
    [ ${#gpus[@]} -eq ${#use_gpus[@]} ] ||
        func_die "config: gpu_list has ${#gpus[@]} entries, $(func_key 4) has ${#use_gpus[@]}"
    for i in "${!gpus[@]}"; do
        case ${gpus[i]}:${use_gpus[i]} in
            -1:False | [0-9]*:True | *:null) ;;
            *) func_die "config: gpu_list ${gpus[i]} with $(func_key 4) ${use_gpus[i]}" ;;
        esac
    done
}

use_gpu_list=$(func_value 40)
mkldnn_list=$(func_value 41)
threads_list=$(func_value 42)
batch_list=$(func_value 43)
tensorrt_list=$(func_value 44)
precision_list=$(func_value 45)
first=true

IFS='|' read -r -a gpus <<< "$(func_value 3)"
IFS='|' read -r -a use_gpus <<< "$(func_value 4)"
func_validate

if [ "$mode" = whole_infer ]; then
    for model in $(func_value 36 | tr '|' ' '); do
        func_whole_infer "$model"
    done
else
    for gpu in "${gpus[@]}"; do
        for autocast in $(func_value 5 | tr '|' ' '); do
            for trainer in $(func_value 14 | tr '|' ' '); do
                func_train "$gpu" "$autocast" "$trainer"
            done
        done
    done
fi
func_finish
