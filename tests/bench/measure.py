"""Measuring one process: CPU seconds, wall time and memory by the kernel, instructions by valgrind's callgrind."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

from programs import events_file, say

# Ten thousand events lie between them: three chunks of 4 MiB.
INSTRUCTION_SIZES = (2_000, 12_000)


def take_turn(program, file, one, events):
    began = time.monotonic()
    usage, program.said = measured(program.over(file), events)
    program.wall.append(time.monotonic() - began)
    program.seconds.append(usage.ru_utime + usage.ru_stime)
    program.memory = max(program.memory, usage.ru_maxrss)
    usage, _ = measured(program.over(one), 1)
    program.startup.append(usage.ru_utime + usage.ru_stime)


def measured(command, events):
    """What one process used and said; it must have read every event."""
    with tempfile.TemporaryFile() as out:
        child = subprocess.Popen(command, stdout=out, stderr=out, cwd=tempfile.gettempdir())
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        said = out.read().decode(errors="replace")
    # Keytrail ends with 1 where there are findings.
    if child.returncode not in (0, 1) or not re.search(rf"\bevents {events}\b|\b({events}|{events:,}) events?\b", said):
        sys.exit(f"{' '.join(command)}\nended with {child.returncode}, or did not say {events} events:\n{said[-2000:]}")
    return usage, said


def count_instructions(programs, roles):
    if not valgrind():
        return
    files = [(events_file(count, roles), count) for count in INSTRUCTION_SIZES]
    for program in programs:
        if program.threads == 1:
            small, large = (instructions(program.over(file)) for file, _ in files)
            if small is None or large is None:
                say(f"skipped: instructions of {program.name}, {program.rules:,} rules: valgrind cannot run it")
                continue
            program.instructions = (large - small) / (files[1][1] - files[0][1])
            say(f"{program.name}, {program.rules:,} rules: {program.instructions:,.0f} instructions an event")


def valgrind():
    if not shutil.which("valgrind") and shutil.which("apt-get") and os.geteuid() == 0:
        say("valgrind is absent: apt-get install -y valgrind")
        subprocess.run(["apt-get", "install", "-y", "-qq", "valgrind"], stdout=subprocess.DEVNULL)
    if not shutil.which("valgrind"):
        say("skipped: instructions: there is no valgrind: install it")
    return shutil.which("valgrind")


def instructions(command):
    with tempfile.TemporaryDirectory() as folder:
        tool = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", *command]
        said = subprocess.run(tool, capture_output=True, text=True, errors="replace", cwd=folder).stderr
    counted = re.search(r"Collected : (\d+)", said)
    return int(counted[1]) if counted else None
