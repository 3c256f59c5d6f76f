/** Whether the kernel forwards what comes by an interface. */
import { readText } from "./file.ts";

/**
 * forwardingProblem tells by which setting the kernel forwards what comes by an interface, in the calling thread's network namespace, and what to do
 * about it; undefined: by none.
 *
 * IPv4 has it for each interface (IN_DEV_FORWARD). IPv6 forwards by `all` whatever the interface says, and since Linux 6.17 by the interface's
 * `force_forwarding` too (ip6_forward); nothing comes in where it is disabled.
 */
export function forwardingProblem(name: string): string | undefined {
  const isOn = (leaf: string) => readText(`/proc/sys/net/${leaf}`)?.trim() === "1";
  const told = (leaf: string, rest = "") =>
    `the kernel forwards them too (net.${leaf.replaceAll("/", ".")} is 1); set it to 0${rest}, or use AF_XDP`;
  const four = `ipv4/conf/${name}/forwarding`;
  if (isOn(four)) return told(four);
  if (isOn(`ipv6/conf/${name}/disable_ipv6`)) return undefined;
  const six = ["ipv6/conf/all/forwarding", `ipv6/conf/${name}/force_forwarding`].find(isOn);
  return six && told(six, ` or net.ipv6.conf.${name}.disable_ipv6 to 1`);
}
