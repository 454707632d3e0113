"""`make install` puts everything where pkg-config and a user look for it, and `make uninstall` removes it."""

import os
import subprocess

import pytest

import loopback

APP = """
#include <stdio.h>
#include <cwl_sink.h>

int main(int argc, char **argv)
{
    cwl_config *config = cwl_config_new();
    cwl_config_set(config, "endpoint_url", argv[1]);
    cwl_config_set(config, "log_group", argv[2]);
    cwl_config_set(config, "log_stream", "s");
    cwl_sink *sink;
    if (argc != 3 || cwl_sink_open(config, &sink) != CWL_OK) {
        fprintf(stderr, "%s\\n", cwl_last_error());
        return 1;
    }
    cwl_config_free(config);
    cwl_event event = { .struct_size = sizeof event, .message = "installed", .message_len = 9 };
    cwl_push_event(sink, &event);
    cwl_status status = cwl_shutdown(sink, 20000);
    cwl_sink_free(sink);
    return status != CWL_OK;
}
"""


def make(target, destination):
    command = ["make", "--no-print-directory", target, "PREFIX=/opt/cwl", f"DESTDIR={destination}"]
    subprocess.run(command, cwd=loopback.ROOT, check=True, stdout=subprocess.DEVNULL, timeout=600)


@pytest.fixture
def installed(tmp_path):
    make("install", tmp_path)
    return tmp_path


def test_a_program_is_built_with_pkg_config_and_runs(installed, cwl_local, group, tmp_path):
    root = installed / "opt/cwl"
    (tmp_path / "app.c").write_text(APP)
    whole = os.environ | {
        "PKG_CONFIG_PATH": str(root / "lib/pkgconfig"),
        "PKG_CONFIG_SYSROOT_DIR": str(installed),
        "LD_LIBRARY_PATH": str(root / "lib"),
    }
    command = "cc app.c $(pkg-config --cflags --libs cwl_sink) -o app"
    subprocess.run(command, shell=True, cwd=tmp_path, env=whole, check=True, timeout=100)
    subprocess.run([tmp_path / "app", cwl_local, group], env=whole, check=True, timeout=100)
    assert [text for _, text in loopback.read_back(loopback.logs_client(cwl_local), group, "s")] == ["installed"]
    ship = [root / "bin/cwl-ship", "--endpoint", cwl_local, "--group", group, "--stream", "ship", "--quiet"]
    subprocess.run(ship, env=whole, input=b"a line\n", check=True, timeout=100)
    assert [text for _, text in loopback.read_back(loopback.logs_client(cwl_local), group, "ship")] == ["a line"]


def test_the_pages_of_the_manual_are_there_and_uninstall_leaves_nothing(installed):
    for page in ("man1/cwl-ship.1", "man3/cwl_sink.3"):
        text = (installed / "opt/cwl/share/man" / page).read_text()
        assert ".SH NAME" in text
    make("uninstall", installed)
    assert [path for path in installed.rglob("*") if not path.is_dir()] == []
