#!/usr/bin/env bash
# Train and predict with the network layer by layer and as a static graph, and compare the scores.
#     bash test_tipc/test_train_dy2static_python.sh CONFIG MODE
# The exit code is the number of failed steps.
set -euo pipefail
# shellcheck source=common_func.sh
source "$(dirname "${BASH_SOURCE[0]}")/common_func.sh"
func_open_config "$@"
func_require_line 7 dynamic
[ "$mode" != whole_infer ] || func_die "mode $mode: this chain trains"
func_require_keys train --data_path --save_path dynamic static predict --input_file compare

pictures=$(func_value_of --input_file)
category=$(basename "$(dirname "$pictures")")
func_start dy2static --save_path

for way in dynamic static; do
    func_command "$python" "$(func_value_of train)" "$(func_value_of $way)" \
        "--data_path=$(func_value_of --data_path)" "--category=$category" \
        "--save_path=$save/$way" "--log_dir=$log_path/$way"
    func_step "$log_path/train_$way.log"
    func_command "$python" "$(func_value_of predict)" "$(func_value_of $way)" \
        "--model_path=$save/$way/$category" "--picture_path=$pictures"
    func_step "$log_path/predict_$way.log"
done
func_command "$python" "$(func_value_of compare)" "--gt_file=$log_path/predict_dynamic.log" \
    "--log_file=$log_path/predict_static.log"
func_step "$log_path/compare.log"
func_finish
