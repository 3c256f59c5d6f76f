/**
 * launcher: the file that container runtimes execute, a static executable of less than three kilobytes that is made here, without a compiler.
 *
 * A runtime starts it for every call, and the full executable would need 4 ms of processor time to start, most of what an ADD costs. The
 * launcher relays the call to the agent, and becomes the full executable, beside it under its name with `-full`, for everything else: no agent,
 * a version, a command line. What is relayed is described in `../protocol.ts`.
 *
 * @example
 * ```ts
 * const launcher = launcherFor(process.arch);
 * ```
 */
import { arm64 } from "./arm64.ts";
import { assemble, type Machine } from "./assembler.ts";
import { executable, originsOf } from "./elf.ts";
import { relay } from "./relay.ts";
import { x86_64 } from "./x86-64.ts";

const machines: Readonly<Record<string, Machine>> = { x64: x86_64, arm64 };

/** launcherFor returns the launcher's file for an architecture as the runtime names them; undefined where there is none. */
export function launcherFor(architecture: string): Uint8Array<ArrayBuffer> | undefined {
  if (!Object.hasOwn(machines, architecture)) return undefined;
  const machine = machines[architecture] as Machine;
  return executable(assemble(machine, relay, originsOf), machine.elf);
}
