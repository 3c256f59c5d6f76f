/** Network interfaces by their place on the PCI bus. */
import { isErrno, listDirectory, readText } from "../sys/mod.ts";

/** A card's port for one of its functions: `pf0vf3`, `c1pf0sf1` (devlink_port_phys_port_name_get, net/devlink/port.c), `p0pf0vf1` (sfc). */
const OF_FUNCTION = /^([cp]\d+)?pf\d+/;

/**
 * pciInterfaces returns the names of the interfaces that the kernel has at a place such as `03:00.0`, where the domain is 0000 (sysfs-bus-pci of
 * the kernel's ABI documentation). Of a virtio card they belong to the virtio device at that place. Ports that a card has there for its
 * functions (switchdev) are not its own.
 */
export function pciInterfaces(address: string, folder = "/sys/bus/pci/devices"): string[] {
  const device = `${folder}/${address.split(":").length < 3 ? "0000:" : ""}${address}`;
  const virtio = listDirectory(device).filter((name) => /^virtio\d+$/.test(name));
  return ["", ...virtio].flatMap((part) => {
    const net = `${device}/${part}/net`;
    return listDirectory(net).filter((name) => !OF_FUNCTION.test(portName(`${net}/${name}/phys_port_name`)));
  });
}

/** Most drivers have no names of ports, and refuse to be read. */
function portName(path: string): string {
  try {
    return readText(path) ?? "";
  } catch (error) {
    if (isErrno(error, "EOPNOTSUPP", "ENOTSUP", "EINVAL", "ENODEV")) return "";
    throw error;
  }
}
