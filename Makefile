# `make demo` and `make test` need nothing but make and Python with its venv module.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
DEMO = demo

.PHONY: demo test format clean

demo: $(VENV)/installed
	$(BIN)/python -m datasets.demo --save_path $(DEMO)/data
	$(BIN)/python train.py --data_path $(DEMO)/data --save_path $(DEMO)/output \
		--log_dir $(DEMO)/logs --val True --save_picture True --num_pictures 12
	$(BIN)/python predict.py --picture_path $(DEMO)/data/flange/test/rust/000.png \
		--model_path $(DEMO)/output/flange --save_path $(DEMO)/prediction.png
	$(BIN)/python -m evaluation.summary $(DEMO)/output
	@echo
	@echo "Look at the prediction:        $(DEMO)/prediction.png"
	@echo "and at the validation sheets:  $(DEMO)/output/weave/pictures/ $(DEMO)/output/flange/pictures/"

test: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(DEMO)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "error: $(PYTHON) is older than 3.10; name another: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "error: Python's venv module is missing: apt-get install python3-venv"; exit 1; }

$(VENV)/installed: requirements.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/installed-dev: requirements-dev.txt requirements.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@
