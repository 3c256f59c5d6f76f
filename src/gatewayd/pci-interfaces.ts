/** Network interfaces by their place on the PCI bus. */
import { listDirectory } from "../sys/mod.ts";

/**
 * pciInterfaces returns the names of the interfaces that the kernel has at a place such as `03:00.0`, where the domain is 0000 (sysfs-bus-pci of
 * the kernel's ABI documentation). Of a virtio card they belong to the virtio device at that place.
 */
export function pciInterfaces(address: string, folder = "/sys/bus/pci/devices"): string[] {
  const device = `${folder}/${address.split(":").length < 3 ? "0000:" : ""}${address}`;
  const virtio = listDirectory(device).filter((name) => /^virtio\d+$/.test(name));
  return ["", ...virtio].flatMap((part) => listDirectory(`${device}/${part}/net`));
}
