# terminal.py STEPS PROGRAM ARGUMENT... -- runs a program on a terminal of its own and types what STEPS says: lines of
# `expect TEXT` and `type TEXT` (with \t, \n and \x escapes). Ends with the program's exit code; 99 if it did not say what was
# expected, with all that it said.
import os, pty, select, signal, sys, time

steps = [line.rstrip("\n") for line in open(sys.argv[1])]
pid, terminal = pty.fork()
if pid == 0:
    os.environ["TERM"] = "xterm"
    os.execv(sys.argv[2], sys.argv[2:])
said = seen = ""


def hear(limit):
    global said, seen
    if not select.select([terminal], [], [], limit)[0]:
        return False
    try:
        more = os.read(terminal, 65536).decode("utf-8", "replace")
    except OSError:
        return False
    said += more
    seen += more
    return bool(more)


for step in steps:
    verb, _, text = step.partition(" ")
    text = text.encode().decode("unicode_escape")
    if verb == "type":
        seen = ""
        os.write(terminal, text.encode())
        continue
    until = time.time() + 20
    while text not in seen:
        if time.time() > until or not hear(1) and time.time() > until:
            print(f"nobody said {text!r}: {said!r}")
            os.kill(pid, signal.SIGKILL)
            sys.exit(99)
until = time.time() + 20
while time.time() < until:
    hear(0.1)
    done, status = os.waitpid(pid, os.WNOHANG)
    if done:
        print(said)
        sys.exit(os.waitstatus_to_exitcode(status))
print(f"it did not end: {said!r}")
os.kill(pid, signal.SIGKILL)
sys.exit(99)
