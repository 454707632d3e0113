#!/bin/sh
# Installs the packages of a requirements file into a Python environment: install_python.sh VENV REQUIREMENTS STAMP
# The stamp is a copy of the installed requirements. It is written last, so an interrupted installation is repeated.
set -eu

venv=$1 requirements=$2 stamp=$3

if cmp -s "$requirements" "$stamp" && "$venv/bin/python" -c '' 2>/dev/null; then
    touch "$stamp"
    exit 0
fi
echo "installing $requirements into $venv"
# Not `venv --clear`, which would also remove other environments inside this one.
rm -rf "$venv/bin" "$venv/include" "$venv/lib" "$venv/lib64" "$venv/pyvenv.cfg" "$stamp"
"${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements" </dev/null
cp "$requirements" "$stamp"
