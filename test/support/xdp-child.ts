/** Attaches a program and opens a port in the namespace that it is started in: `bun test/support/xdp-child.ts IFINDEX FRAMES [once]`. */
import { Arena } from "../../src/sys/mod.ts";
import { XdpFrames, XdpInterface, XdpPort } from "../../src/tunnel/xdp/mod.ts";

const [ifindex, count] = [Number(process.argv[2]), Number(process.argv[3])];
const link = XdpInterface.open({ ifindex, filter: { ipProtocols: [50] } });
const frames = new XdpFrames(new Arena({ bytes: (count + 4) * 2048 }), { frames: count });
const port = new XdpPort(frames, { ifindex, queue: 0, zeroCopy: true, receive: 64, transmit: 64 });
link.add(0, port.socket.fd.number);
process.stdout.write("ready\n");
if (process.argv[4] !== "once") setInterval(() => port.receive(), 1000);
