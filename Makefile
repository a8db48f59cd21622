# `make help` lists what there is. All of it needs only make and Python with its venv module.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
DEMO = demo
PADDLE26 = .venv-paddle26
# The peers of the comparison run on the CPU; PyTorch's own index has builds without CUDA.
TORCH ?= --index-url https://download.pytorch.org/whl/cpu torch torchvision
anomalib = anomalib==2.7.0
anomavision = anomavision==3.6.2
# One file stays in one worker, because its tests share what they train.
PYTEST = pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder
PIP = python -m pip install --quiet --disable-pip-version-check

TIPC = PYTHON=$(abspath $(BIN)/python) bash test_tipc
CONFIGS = test_tipc/configs/PaDiM
MODE ?= lite_train_lite_infer

.PHONY: help demo app check test lint test-paddle26 tipc bench serve peers format clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/installed ## environment, demo pictures, training, validation, one prediction: two minutes
	$(BIN)/python -m demo_set --save_path $(DEMO)/data
	$(BIN)/python train.py --data_path $(DEMO)/data --save_path $(DEMO)/output \
		--log_dir $(DEMO)/logs --val True --save_picture True --num_pictures 12
	$(BIN)/python -m demo_set --save_path $(DEMO)/loose --categories loose_flange
	$(BIN)/python train.py --data_path $(DEMO)/loose --save_path $(DEMO)/output --method patchcore \
		--log_dir $(DEMO)/logs --val True --save_picture True --num_pictures 12
	$(BIN)/python predict.py --picture_path $(DEMO)/data/flange/test/rust/000.png \
		--model_path $(DEMO)/output/flange --save_path $(DEMO)/prediction.png
	$(BIN)/python -m evaluation.summary $(DEMO)/output
	@echo
	@echo "Look at the prediction:        $(DEMO)/prediction.png"
	@echo "and at the validation sheets:  $(DEMO)/output/*/pictures/"

# The page. `make app APP="--server.address 0.0.0.0 -- --data_root data"` has options of Streamlit
# and, behind the --, of app.py.
app: $(VENV)/installed-app ## the page in a browser: learn, judge, look
	$(BIN)/streamlit run app.py $(APP)

# What a developer runs often: the static checks, and the tests that take little time.
check: lint ## linters and quick tests
	$(BIN)/python -m $(PYTEST) -m "not process"

test: lint ## linters and all tests
	$(BIN)/python -m $(PYTEST)

lint: $(VENV)/installed-dev ## linters alone
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/shellcheck test_tipc/*.sh .ci/run

# The tests again on the newest Paddle whose GPU wheel is on PyPI, but for those that use no Paddle;
# the two versions read each other's files.
test-paddle26: $(PADDLE26)/installed $(VENV)/installed-dev ## the tests that depend on Paddle or numpy, with PaddlePaddle 2.6.2
	OTHER_PYTHON=$(abspath $(BIN)/python) $(PADDLE26)/bin/python -m $(PYTEST) -m "not once"

# TIPC's chains; `make tipc MODE=whole_train_whole_infer` needs MVTEC_PATH.
tipc: $(VENV)/installed-dev ## the chains of TIPC
	$(TIPC)/prepare.sh $(CONFIGS)/train_infer_python.txt $(MODE)
	$(TIPC)/test_train_inference_python.sh $(CONFIGS)/train_infer_python.txt $(MODE)
	$(BIN)/python test_tipc/compare_results.py
	test $(MODE) != lite_train_lite_infer || \
		$(TIPC)/test_train_inference_python.sh $(CONFIGS)/train_infer_python_efficientnet_b0.txt $(MODE)
	test $(MODE) != lite_train_lite_infer || { \
		$(TIPC)/prepare.sh $(CONFIGS)/train_infer_python_default.txt $(MODE) && \
		$(TIPC)/test_train_inference_python.sh $(CONFIGS)/train_infer_python_default.txt $(MODE) && \
		$(BIN)/python test_tipc/compare_results.py --log_file "output/PaDiM_default/python_*.log" && \
		$(TIPC)/test_train_inference_python.sh $(CONFIGS)/train_infer_python_patchcore.txt $(MODE) && \
		$(TIPC)/test_train_inference_python.sh $(CONFIGS)/train_infer_python_spade.txt $(MODE); }
	$(TIPC)/prepare.sh $(CONFIGS)/paddle2onnx_infer_python.txt $(MODE)
	$(TIPC)/test_paddle2onnx.sh $(CONFIGS)/paddle2onnx_infer_python.txt $(MODE)
	$(TIPC)/test_ptq_inference_python.sh $(CONFIGS)/ptq_infer_python.txt $(MODE)
	$(TIPC)/test_train_dy2static_python.sh $(CONFIGS)/train_dy2static_python.txt $(MODE)

# `make bench BENCH="--data_path data/mvtec --category bottle"`; `make peers` before it for others.
bench: $(VENV)/installed ## timings beside other implementations
	$(BIN)/python -m benchmarks.bench $(BENCH)

# `make serve MODEL=output/screw SERVE="--port 8001"`; MODEL may be a folder of models.
serve: $(VENV)/installed-serve ## the HTTP service: make serve MODEL=output/screw
	@test -n "$(MODEL)" || { echo "error: name a model: make serve MODEL=output/screw"; exit 1; }
	$(BIN)/python serve.py --model_dir "$(MODEL)" $(SERVE)

peers: .venv-anomalib/installed .venv-anomavision/installed ## environments of the other implementations, for make bench

format: $(VENV)/installed-dev ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## delete environments and demo
	rm -rf $(VENV) $(PADDLE26) .venv-anomalib .venv-anomavision $(DEMO) test_tipc/data test_tipc/output

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "error: $(PYTHON) is older than 3.10; name another: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "error: Python's venv module is missing: apt-get install python3-venv"; exit 1; }

$(VENV)/installed: requirements.txt | $(BIN)/python
	$(BIN)/$(PIP) -r requirements.txt
	@touch $@

$(VENV)/installed-app: requirements-app.txt requirements.txt | $(BIN)/python
	$(BIN)/$(PIP) -r requirements-app.txt
	@touch $@

$(VENV)/installed-serve: requirements-serve.txt $(VENV)/installed
	$(BIN)/$(PIP) -r requirements-serve.txt
	@touch $@

$(VENV)/installed-dev: requirements-dev.txt requirements-app.txt requirements-serve.txt requirements.txt | $(BIN)/python
	$(BIN)/$(PIP) -r requirements-dev.txt
	@touch $@

$(PADDLE26)/installed: requirements-paddle26.txt requirements-dev.txt requirements-app.txt requirements-serve.txt requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info >= (3, 13))' || \
		{ echo "error: PaddlePaddle 2.6 needs Python <= 3.12: make test-paddle26 PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(PADDLE26)
	$(PADDLE26)/bin/$(PIP) -r requirements-paddle26.txt
	@touch $@

# Each peer has an environment of its own: what they need excludes each other, and us.
.venv-%/installed:
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/$(PIP) $(TORCH)
	.venv-$*/bin/$(PIP) $($*)
	@touch $@
