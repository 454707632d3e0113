"""README's C program: it compiles as README says and without warnings, and it ships its event."""

import re
import shlex
import subprocess

import pytest

from loopback import ROOT, CwlLocal, hermetic_environment, logs_client, read_back

SECONDS = 60


def readme_blocks(language):
    """Returns the contents of README's fenced code blocks in a language."""
    text = (ROOT / "README.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def readme_program():
    """Returns README's complete C program, of which there must be one."""
    [program] = [block for block in readme_blocks("c") if "int main" in block]
    return program


def readme_compiler_command():
    """Returns README's command that compiles the program, as the shell takes it."""
    [line] = [line for block in readme_blocks("sh") for line in block.splitlines() if line.startswith("cc ")]
    return line


def makefile_flags():
    """Returns the flags that the Makefile compiles all other C with; warnings are errors."""
    [flags] = re.findall(r"^C99 *:= (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert "-Werror" in flags
    return shlex.split(flags)


@pytest.fixture
def folder(tmp_path):
    """A folder with README's program in hello.c, in which README's relative paths lead to this build."""
    (tmp_path / "hello.c").write_text(readme_program())
    for name in ("include", "target"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


@pytest.mark.parametrize("flags", [[], makefile_flags()], ids=["as_readme_says", "with_the_makefile_flags"])
def test_the_program_ships_its_event(folder, flags):
    program = readme_program()
    setting = dict(re.findall(r'cwl_config_set\(config, "(\w+)", "([^"]*)"\)', program))
    compiler = readme_compiler_command() + "".join(f" {shlex.quote(flag)}" for flag in flags)
    compiled = subprocess.run(["sh", "-c", compiler], cwd=folder, capture_output=True, text=True, check=False)
    assert compiled.returncode == 0, compiled.stderr
    assert compiled.stderr == ""

    with CwlLocal() as local:
        environment = hermetic_environment() | {"AWS_ENDPOINT_URL": local.endpoint}
        done = subprocess.run(
            [folder / "hello"], env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "CWL_OK\n", "")
        events = read_back(logs_client(local.endpoint), setting["log_group"], setting["log_stream"])

    messages = [message for _, message in events]
    assert len(messages) == 1, messages
    assert f'"{messages[0]}"' in program, "the message that arrived is a literal of the program"
