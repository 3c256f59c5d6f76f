/**
 * The launcher's program: relays one call of the plugin to the agent.
 *
 * ```
 * environment ──▶ memory: CNI_A=…␀CNI_B=…␀ ␀ standard input ␊ │ answer ␊
 *                         └──────── sendmsg ────────────────┘ ▲ └─▶ standard output, exit status
 *                          (+ descriptor of CNI_NETNS)        read
 * ```
 * Whatever does not go this way becomes the full executable (`…-full` beside this file), which does it all again from the beginning, in
 * the same process: same arguments and environment, and a standard input that holds what the old one did.
 */
import { CNI_SOCKET, MOST_ANSWER_BYTES, MOST_REQUEST_BYTES } from "../protocol.ts";
import { type Assembler, at, type Register } from "./assembler.ts";

const EINTR = -4;
const EAGAIN = -11;
const AT_FDCWD = -100;
const O_CLOEXEC = 0o2000000;
const O_NONBLOCK = 0o4000;
const MFD_CLOEXEC = 1;
const AF_UNIX = 1;
const SOCK_STREAM_CLOEXEC = 1 | 0o2000000;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const SO_RCVTIMEO = 20;
const SO_SNDTIMEO = 21;
const MSG_NOSIGNAL = 0x4000;
const POLLIN = 1;
const POLLOUT = 4;
const PATH_BYTES = 4096;

/** Longest silence of the agent, as in the full plugin. */
const TIMEOUT_SECONDS = 30;

/** What is said when there is nobody left to say it. */
const STRANDED = `${JSON.stringify({
  cniVersion: "1.0.0",
  code: 11,
  msg: "Cannot serve the call: the Causeway agent does not answer, and causeway-full is missing beside the plugin; run: causeway cni install",
})}\n`;

// Kept in system calls.
const environment: Register = "k1"; // first of the pointers to variables
const body: Register = "k2"; // where standard input begins in memory
const end: Register = "k3"; // behind what is in memory
const cursor: Register = "k4";
const socket: Register = "k5";
const status: Register = "k6";
const file: Register = "k7"; // first the path of CNI_NETNS, at the end the new standard input
// Lost in system calls.
const text: Register = "v1";
const byte: Register = "v2";
const length: Register = "v1";
// Only where no call is between.
const [pattern, wanted, value, limit, variable] = ["a1", "a2", "a3", "a4", "a5"] as const;

/** relay is the program, from its first instruction on. */
export function relay(asm: Assembler): void {
  const { add, bytes, call, jump, label, load64, load8, room, set, store64, store8, subtract, when, words } =
    asm;

  /** Goes to `otherwise` unless `text` begins with the words; leaves `value` at what follows. */
  const match = (begin: string, otherwise: string) => {
    set(pattern, at(`"${begin}"`));
    set(value, text);
    label(`match ${begin}`);
    load8(wanted, pattern);
    when(wanted, "equal", 0, `matched ${begin}`);
    load8(byte, value);
    when(byte, "different", wanted, otherwise);
    add(pattern, 1);
    add(value, 1);
    jump(`match ${begin}`);
    label(`matched ${begin}`);
    bytes(`"${begin}"`, `${begin}\0`);
  };

  /** Makes a blank of `byte` if it would end the line; a JSON text has raw line feeds only as white space. */
  const flatten = (name: string) => {
    when(byte, "equal", 10, `blank ${name}`);
    when(byte, "different", 13, `flat ${name}`);
    label(`blank ${name}`);
    set(byte, 32);
    label(`flat ${name}`);
  };

  /** After a call on standard input or output: repeats it when it was interrupted, or later when the other end is not ready. */
  const persist = (again: string, ready: "readable" | "writable") => {
    when("result", "equal", EINTR, again);
    when("result", "different", EAGAIN, `${again}: done`);
    call("ppoll", at(ready), 1, 0, 0, 0);
    jump(again);
    label(`${again}: done`);
  };

  /** Writes from `body` to `upTo`, all of it. */
  const writeAll = (name: string, descriptor: Register | number, upTo: Register, failed: string) => {
    label(name);
    when(body, "equal", upTo, `${name}: all`);
    set(length, upTo);
    subtract(length, body);
    call("write", descriptor, body, length);
    persist(name, "writable");
    when("result", "less", 0, failed);
    add(body, "result");
    jump(name);
    label(`${name}: all`);
  };

  // The kernel enters with argc, the arguments, 0, the variables, 0 on the stack (System V ABI; the same on arm64).
  set(variable, "stack");
  label("arguments");
  add(variable, 8);
  load64(text, variable);
  when(text, "different", 0, "arguments");
  add(variable, 8);
  set(environment, variable);

  // 1. The variables that begin with CNI_, each with the zero byte that ends it. Two bytes stay free, for another zero and a line feed.
  set(end, at("memory"));
  set(limit, at("memory", MOST_REQUEST_BYTES - 2));
  set(status, 0); // whether there is a command
  set(file, 0);
  label("variable");
  load64(text, variable);
  when(text, "equal", 0, "all variables");
  add(variable, 8);
  match("CNI_", "variable");
  match("CNI_COMMAND=VERSION", "no version");
  load8(byte, value);
  when(byte, "equal", 0, "become");
  label("no version");
  match("CNI_COMMAND=", "no command");
  load8(status, value); // an empty one is none
  label("no command");
  match("CNI_NETNS=", "copy");
  when(file, "different", 0, "copy"); // the first one counts, as for getenv(3)
  load8(byte, value);
  when(byte, "equal", 0, "copy");
  set(file, value);
  label("copy");
  when(end, "equal", limit, "become");
  load8(byte, text);
  add(text, 1);
  flatten("variable");
  store8(byte, end);
  add(end, 1);
  when(byte, "different", 0, "copy");
  jump("variable");
  label("all variables");
  when(status, "equal", 0, "become");
  set(byte, 0);
  store8(byte, end);
  add(end, 1);
  set(body, end);

  // 2. The namespace is opened here, because its path may mean nothing to the agent. If it cannot be, the full executable says why.
  when(file, "equal", 0, "standard input");
  call("openat", AT_FDCWD, file, O_CLOEXEC | O_NONBLOCK, 0); // a FIFO would wait for its other end
  when("result", "less", 3, "become"); // 0, 1, 2: somebody has closed what we are to read and write
  set(text, at("rights", 16));
  store64("result", text);
  set(byte, 24); // msg_controllen: CMSG_SPACE(4)
  set(text, at("message", 40));
  store64(byte, text);

  // 3. Standard input, to its end. It comes before the connection, so that the agent never waits for who called us.
  label("standard input");
  set(length, at("memory", MOST_REQUEST_BYTES - 1));
  subtract(length, end);
  when(length, "equal", 0, "fall back");
  call("read", 0, end, length);
  persist("standard input", "readable");
  when("result", "less", 0, "fall back");
  when("result", "equal", 0, "connect");
  set(cursor, end);
  add(end, "result");
  label("flatten");
  load8(byte, cursor);
  flatten("input");
  store8(byte, cursor);
  add(cursor, 1);
  when(cursor, "different", end, "flatten");
  jump("standard input");

  // 4. The agent.
  label("connect");
  call("socket", AF_UNIX, SOCK_STREAM_CLOEXEC, 0);
  when("result", "less", 3, "fall back");
  set(socket, "result");
  call("setsockopt", socket, SOL_SOCKET, SO_RCVTIMEO, at("patience"), 16);
  call("setsockopt", socket, SOL_SOCKET, SO_SNDTIMEO, at("patience"), 16);
  const address = Uint8Array.from([AF_UNIX, 0, ...new TextEncoder().encode(CNI_SOCKET), 0]);
  label("connecting");
  call("connect", socket, at("address"), address.length);
  when("result", "equal", EINTR, "connecting");
  when("result", "different", 0, "fall back");

  // 5. The request: first with the descriptor, then, if it was not all taken, without.
  set(byte, 10);
  store8(byte, end);
  set(cursor, end);
  add(cursor, 1);
  set(text, at("memory"));
  subtract(cursor, text);
  label("send");
  set(text, at("vector", 8));
  store64(cursor, text);
  call("sendmsg", socket, at("message"), MSG_NOSIGNAL);
  when("result", "equal", EINTR, "send");
  when("result", "less", 0, "fall back");
  subtract(cursor, "result");
  set(text, at("vector"));
  load64(byte, text);
  add(byte, "result");
  store64(byte, text);
  set(byte, 0);
  set(text, at("message", 40));
  store64(byte, text);
  when(cursor, "different", 0, "send");

  // 6. The answer, behind the request: a line that is the exit status, one digit, and what belongs on standard output.
  set(cursor, end);
  add(cursor, 1);
  label("answer");
  set(length, at("memory", MOST_REQUEST_BYTES + MOST_ANSWER_BYTES));
  subtract(length, cursor);
  when(length, "equal", 0, "fall back");
  call("read", socket, cursor, length);
  when("result", "equal", EINTR, "answer");
  when("result", "less", 1, "fall back"); // it ended, or was silent for too long
  add(cursor, "result");
  set(text, cursor);
  add(text, -1);
  load8(byte, text);
  when(byte, "different", 10, "answer");
  set(text, end);
  add(text, 1);
  load8(status, text);
  add(status, -48);
  when(status, "less", 0, "fall back");
  set(byte, 9);
  when(byte, "less", status, "fall back");

  // 7. Done. Nothing is needed any more of what came in.
  set(body, end);
  add(body, 2);
  set(text, body);
  add(text, 1);
  when(text, "equal", cursor, "exit"); // only its line feed: no output
  writeAll("standard output", 1, cursor, "cannot write");
  label("exit");
  call("exit_group", status);
  label("cannot write");
  call("exit_group", 1);

  // What was read, and then the rest of it, becomes the new standard input.
  label("fall back");
  call("memfd_create", at("stdin"), MFD_CLOEXEC);
  when("result", "less", 0, "stranded");
  set(file, "result");
  writeAll("give back", file, end, "stranded");
  label("rest");
  call("read", 0, at("memory"), MOST_REQUEST_BYTES);
  persist("rest", "readable");
  when("result", "less", 1, "rewind");
  set(body, at("memory"));
  set(end, body);
  add(end, "result");
  writeAll("give rest", file, end, "stranded");
  jump("rest");
  label("rewind");
  call("lseek", file, 0, 0);
  call("dup3", file, 0, 0);

  // This process becomes the full executable.
  label("become");
  call("readlinkat", AT_FDCWD, at("self"), at("path"), PATH_BYTES);
  when("result", "less", 1, "stranded");
  set(cursor, at("path"));
  add(cursor, "result");
  // A newer launcher may have taken this one's place; then the kernel adds " (deleted)" (proc_pid_exe(5)).
  set(text, cursor);
  add(text, -1);
  load8(byte, text);
  when(byte, "different", ")".charCodeAt(0), "in place");
  add(cursor, -" (deleted)".length);
  label("in place");
  set(text, at("suffix"));
  load64(text, text);
  store64(text, cursor);
  // Bun takes options from variables, and the runtime's are not for us: BUN_BE_BUN=1 would make it the Bun command line.
  set(cursor, environment);
  set(variable, environment);
  label("sift");
  load64(text, variable);
  add(variable, 8);
  when(text, "equal", 0, "sifted");
  match("BUN_", "kept");
  jump("sift");
  label("kept");
  store64(text, cursor);
  add(cursor, 8);
  jump("sift");
  label("sifted");
  store64(text, cursor);
  set(text, "stack");
  add(text, 8);
  call("execve", at("path"), text, environment);

  label("stranded");
  call("write", 1, at("last words"), new TextEncoder().encode(STRANDED).length);
  call("exit_group", 1);

  bytes("address", address);
  words("patience", [TIMEOUT_SECONDS, 0]); // struct timeval
  // struct msghdr, with one iovec and one cmsghdr (include/linux/socket.h)
  words("message", [0, 0, at("vector"), 1, at("rights"), 0, 0]);
  words("vector", [at("memory"), 0]);
  words("rights", [16 + 4, SOL_SOCKET + SCM_RIGHTS * 2 ** 32, 0]);
  // struct pollfd: descriptor and events
  words("readable", [0 + POLLIN * 2 ** 32]);
  words("writable", [1 + POLLOUT * 2 ** 32]);
  bytes("stdin", "stdin\0");
  bytes("self", "/proc/self/exe\0");
  bytes("suffix", "-full\0\0\0");
  bytes("last words", STRANDED);
  // The answer comes right behind the request: a usual call touches a page or two, and these lie where no huge page fits.
  room("memory", MOST_REQUEST_BYTES + MOST_ANSWER_BYTES);
  room("path", PATH_BYTES + 8);
}
