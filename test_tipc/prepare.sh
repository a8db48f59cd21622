#!/usr/bin/env bash
# Provide what a chain needs: pictures, and a trained model if the chain does not train one.
#     bash test_tipc/prepare.sh CONFIG MODE
# Lite pictures are drawn; the others are taken from MVTEC_PATH, in MVTec AD's layout. Nothing is
# downloaded.
set -euo pipefail
mvtec=${MVTEC_PATH:+$(realpath -m "$MVTEC_PATH")}
# shellcheck source=common_func.sh
source "$(dirname "${BASH_SOURCE[0]}")/common_func.sh"
func_open_config "$@"

readonly FEW=40 # training pictures of lite_train_whole_infer

model=null
case ${lines[0]} in
    *train_params*)
        if [ "$mode" = whole_infer ]; then
            func_require_keys --input_file infer_model
            pictures=$(func_value_of --input_file) model=$(func_value_of infer_model)
        else
            func_require_keys train_infer_img_dir
            pictures=$(func_value_of train_infer_img_dir)
        fi
        ;;
    *)
        func_require_keys --input_file
        pictures=$(func_value_of --input_file)
        if func_has --model_path; then model=$(func_value_of --model_path); fi
        ;;
esac
# ./test_tipc/data/SET/CATEGORY/test
category=$(basename "$(dirname "$pictures")")
data=$(dirname "$(dirname "$pictures")")
[ "$(basename "$pictures")" = test ] ||
    func_die "config: pictures $pictures of mode $mode: expected DATA/CATEGORY/test"

func_require_below "$data" test_tipc/data

func_whole_category() { # sets `source`
    [ -n "$mvtec" ] ||
        func_die "$mode needs pictures: set MVTEC_PATH to a folder with $category/train/good"
    source=$mvtec/$category
    local part
    for part in train/good test; do
        [ -n "$(ls "$source/$part" 2> /dev/null)" ] ||
            func_die "MVTEC_PATH: $source/$part does not exist or is empty"
    done
}

rm -rf "$data"
mkdir -p "$data"
case $mode in
    lite_train_lite_infer)
        "$python" -m demo_set --save_path "$data" --categories "$category" \
            --train 24 --good 6 --defective 3
        ;;
    lite_train_whole_infer)
        func_whole_category
        mkdir -p "$data/$category/train/good"
        ln -s "$source/test" "$source/ground_truth" "$data/$category"
        count=0
        for picture in "$source"/train/good/*; do
            [ $((count += 1)) -le $FEW ] || break
            ln -s "$picture" "$data/$category/train/good"
        done
        ;;
    *)
        func_whole_category
        ln -s "$source" "$data/$category"
        ;;
esac
printf 'pictures: %s\n' "$data/$category"

if [ "$model" != null ]; then
    save=$(dirname "$(dirname "$model")")
    train=$(func_value_of train)
    [ "$train" != null ] ||
        train="train.py --backbone=resnet18 --pretrained_backbone=./models/weights/resnet18_tinyimagenet.safetensors"
    func_command "$python" "$train" --data_path "$data" --category "$category" \
        --save_path "$save" --log_dir "$log_path/logs" --val True
    "${words[@]}"
    printf 'model: %s\n' "$model"
fi
