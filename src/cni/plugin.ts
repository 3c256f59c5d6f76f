/**
 * The plugin in full: hands the request to the agent and prints the answer. Where the launcher (launcher/mod.ts) is in its place, it gets
 * only what that cannot do.
 *
 * It lives for about 4 ms, most of them the runtime's own start. So it is synchronous, imports single files of `sys` instead of its front
 * door, and leaves everything rare to files that are loaded when needed.
 */
import { environmentVariable, programName } from "../sys/environment.ts";
import { Fd } from "../sys/fd.ts";
import { sendWithDescriptor } from "../sys/fdpass.ts";
import { open } from "../sys/libc.ts";
import { readStandardInput, writeStandardOutput } from "../sys/standard.ts";
import { connectUnix, receiveLine, sendAll } from "../sys/unix.ts";
import {
  CNI_SOCKET,
  decodeAnswer,
  DELEGATE,
  encodeRequest,
  type Environment,
  MOST_REQUEST_BYTES,
  type PluginAnswer,
  type PluginRequest,
  variables,
  VERSIONS,
} from "./protocol.ts";

/** A FIFO would wait for its other end. */
const O_NONBLOCK = 0o4000;

/** Longest silence of the agent. The launcher waits as long first, and kubelet gives a call two minutes. */
const TIMEOUT_MS = 30_000;

/** isPluginCall tells whether a container runtime started this process. */
export function isPluginCall(): boolean {
  return environmentVariable("CNI_COMMAND") !== undefined;
}

/** runPlugin serves one call and returns the exit status. */
export async function runPlugin(): Promise<number> {
  const environment = readEnvironment();
  const stdin = readStandardInput();
  const answer =
    environment.CNI_COMMAND === "VERSION"
      ? version(stdin)
      : programName() === "loopback"
        ? await (await import("./plugin-loopback.ts")).loopback({ environment, stdin })
        : await ask(environment, stdin, CNI_SOCKET);
  if (answer.output !== "") writeStandardOutput(`${answer.output}\n`);
  return answer.status;
}

function readEnvironment(): Environment {
  const found: Record<string, string> = {};
  for (const name of variables) {
    const value = environmentVariable(name);
    if (value !== undefined) found[name] = value;
  }
  return found;
}

/** V1: the version given on input is echoed; nothing else is needed, not even valid input. */
function version(stdin: string): PluginAnswer {
  let given: unknown;
  try {
    const input: unknown = JSON.parse(stdin);
    if (typeof input === "object" && input !== null && "cniVersion" in input) given = input.cniVersion;
  } catch {
    // Answered all the same.
  }
  const cniVersion = typeof given === "string" && given !== "" ? given : VERSIONS.at(-1);
  return { status: 0, output: JSON.stringify({ cniVersion, supportedVersions: VERSIONS }) };
}

async function ask(environment: Environment, stdin: string, socketPath: string): Promise<PluginAnswer> {
  const request: PluginRequest = { environment, stdin };
  const answer = await askOnce(request, socketPath);
  if (answer !== DELEGATE) return answer;
  const { withIpam } = await import("./plugin-ipam.ts");
  return withIpam(request, async (ipamResult) => {
    const again = await askOnce({ ...request, ipamResult }, socketPath);
    if (again !== DELEGATE) return again;
    throw new Error("Cannot serve the call: the agent asks for the IPAM plugin twice");
  });
}

async function askOnce(call: PluginRequest, socketPath: string): Promise<PluginAnswer | typeof DELEGATE> {
  const netns = openNetns(call.environment.CNI_NETNS);
  const request = { ...call, ...(typeof netns === "string" && { netnsProblem: netns }) };
  const question = new TextEncoder().encode(`${encodeRequest(request)}\n`);
  const tooLong = question.length > MOST_REQUEST_BYTES;
  let problem = `the call has ${question.length} bytes, and ${MOST_REQUEST_BYTES} is the limit`;
  if (!tooLong)
    try {
      using socket = connectUnix(socketPath, { timeoutMs: TIMEOUT_MS });
      const sent = netns instanceof Fd ? sendWithDescriptor(socket.number, question, netns.number) : 0;
      sendAll(socket, question.subarray(sent));
      const line = receiveLine(socket, TIMEOUT_MS);
      if (line === DELEGATE) return DELEGATE;
      const answer = line === undefined ? undefined : decodeAnswer(line);
      if (answer !== undefined) return answer;
      problem = "it ended, or was silent for half a minute, before it answered";
    } catch (error) {
      problem = error instanceof Error ? error.message : String(error);
    }
  const { leavesIpam, withoutAgent } = await import("./without-agent.ts");
  const answer = withoutAgent(request, { socketPath, problem, tooLong });
  return leavesIpam(request, answer) ? DELEGATE : answer;
}

function openNetns(path: string | undefined): Fd | string | undefined {
  if (path === undefined) return undefined;
  try {
    return new Fd(open(path, O_NONBLOCK), "network namespace of the container");
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
