# shellcheck shell=bash
# Functions of all chains: read a config, run a step, write its result.
# Sourced by the scripts beside it, which run in the project's root.

readonly MODES="lite_train_lite_infer lite_train_whole_infer whole_train_whole_infer whole_infer"
readonly RED=31 GREEN=32 YELLOW=33

passed=0 failed=0 skipped=0

func_die() { # MESSAGE: end with the exit code of wrong use
    printf 'error: %s\n' "$1" >&2
    exit 2
}

func_open_config() { # FILE MODE: sets `lines`, `mode`, `model_name`, `python`, `log_path`
    [ $# -eq 2 ] || func_die "usage: bash $0 CONFIG MODE, with MODE one of: $MODES"
    [ -f "$1" ] || func_die "$1: no such config; the configs are in test_tipc/configs"
    case " $MODES " in
        *" $2 "*) mode=$2 ;;
        *) func_die "mode $2: expected one of: $MODES" ;;
    esac
    local text
    text=$(tr -d '\r' < "$1")
    mapfile -t lines <<< "$text"
    CDPATH="" cd -- "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
    func_require_keys model_name python
    model_name=$(func_value_of model_name)
    python=${PYTHON:-$(func_value_of python)}
    log_path=test_tipc/output/$model_name
    status_log=$log_path/results_python.log
    command -v "$python" > /dev/null ||
        func_die "$python: no such command; activate the environment, or set PYTHON"
}

func_require_line() { # NUMBER KEY: the line must have this key, because the layout is fixed
    [ "$(func_parser_key "${lines[$1 - 1]-}")" = "$2" ] ||
        func_die "config: line $1 is \`${lines[$1 - 1]-}\`, expected \`$2:...\`"
}

func_require_keys() { # KEYS...: each must have a value for this mode
    local key
    for key in "$@"; do
        func_has "$key" || func_die "config: no line \`$key:...\`"
        [ "$(func_value_of "$key")" != null ] ||
            func_die "config: \`$key\` has no value for mode $mode"
    done
}

func_require_below() { # FOLDER PARENT: it will be deleted, so it must be one of ours
    case $(realpath -m -- "$1") in
        "$(realpath -m -- "$2")"/?*) ;;
        *) func_die "config: $1 will be deleted and written again, so it must be below $2" ;;
    esac
}

func_parser_key() { # LINE: the text before the first colon
    printf '%s' "${1%%:*}"
}

func_parser_value() { # LINE: the text after the first colon
    printf '%s' "${1#*:}"
}

func_parser_params() { # VALUE: this mode's part of `mode=value|mode=value`, or VALUE itself
    local one part of="" found=""
    local -a parts
    IFS='|' read -r -a parts <<< "$1"
    for part in "${parts[@]}"; do
        for one in $MODES; do
            [ "${part#"$one"=}" = "$part" ] || of=$one
        done
        # A part without a mode belongs to the mode before it: `mode=1|8`.
        [ "$of" != "$mode" ] || found="$found|${part#"$mode"=}"
    done
    if [ -z "$of" ]; then
        printf '%s' "$1"
    elif [ -z "$found" ]; then
        printf null
    else
        printf '%s' "${found#|}"
    fi
}

func_key() { # INDEX
    func_parser_key "${lines[$1]}"
}

func_value() { # INDEX
    func_parser_params "$(func_parser_value "${lines[$1]}")"
}

func_value_of() { # KEY: the value of the first line with this key, null if there is none
    local line
    for line in "${lines[@]}"; do
        if [ "$(func_parser_key "$line")" = "$1" ]; then
            func_parser_params "$(func_parser_value "$line")"
            return
        fi
    done
    printf null
}

func_has() { # KEY: whether there is a line with this key
    local line
    for line in "${lines[@]}"; do
        [ "${line%%:*}" != "$1" ] || return 0 # `grep -q` would end early and kill the process that writes to it
    done
    return 1
}

func_set_params() { # KEY VALUE: KEY=VALUE, or nothing if either is null
    if [ "$1" != null ] && [ "$2" != null ] && [ -n "$2" ]; then
        printf '%s=%s' "$1" "$2"
    fi
}

func_param() { # INDEX: the option of a line
    func_set_params "$(func_key "$1")" "$(func_value "$1")"
}

func_know_machine() { # sets `machine`, the output of machine.py
    machine=$("$python" -m test_tipc.machine) ||
        func_die "$python cannot import the project; activate its environment, or set PYTHON"
}

func_option() { # KEY: the option of the first line with this key
    func_set_params "$1" "$(func_value_of "$1")"
}

func_start() { # NAME SAVE_KEY: sets `save` and the paths of logs; deletes earlier results
    save=$(func_value_of "$2")
    func_require_below "$save" test_tipc/output
    log_path=$log_path/$1
    status_log=$log_path/results_$1.log
    rm -rf "$log_path" "$save"
    mkdir -p "$log_path"
}

func_missing() { # WHAT: why this machine does not support it, or nothing
    awk -F '\t' -v what="$1" '$1 == what { print $2 }' <<< "$machine"
}

func_command() { # PROGRAM WORDS...: sets `words`, the command; configs have no quotes
    local -a rest
    read -r -a rest <<< "${*:2}"
    words=("$1" "${rest[@]}")
}

func_step() { # LOG: run `words`, write its output to LOG, report the result
    local code=0
    mkdir -p "$(dirname "$1")"
    "${words[@]}" > "$1" 2>&1 || code=$?
    cat "$1"
    status_check "$code" "${words[*]}" "$status_log" "$model_name" "$1"
    case $code in 130 | 143) exit "$code" ;; esac # interrupted: end the chain too
}

status_check() { # EXIT_CODE COMMAND RESULTS_LOG MODEL LOG
    if [ "$1" -eq 0 ]; then
        passed=$((passed + 1))
        func_note $GREEN "Run successfully with command - $4 - $2 - $5" "$3"
    else
        failed=$((failed + 1))
        func_note $RED "Run failed with command - $4 - $2 - $5" "$3"
    fi
}

func_skip() { # REASON: report that `words` cannot run on this machine
    skipped=$((skipped + 1))
    func_note $YELLOW "Run skipped with command - $model_name - ${words[*]} - $1" "$status_log"
}

func_run() { # LOG REASON: run the step, or skip it if there is a REASON
    if [ -n "$2" ]; then func_skip "$2"; else func_step "$1"; fi
}

func_note() { # COLOUR TEXT RESULTS_LOG
    printf '\033[%dm %s \033[0m\n' "$1" "$2" | tee -a "$3"
}

func_finish() { # exit with the number of failed steps
    printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
    if [ "$passed" -eq 0 ] && [ "$failed" -eq 0 ]; then
        printf 'error: no step could run on this machine\n' >&2
        exit 1
    fi
    exit "$((failed < 255 ? failed : 255))"
}
