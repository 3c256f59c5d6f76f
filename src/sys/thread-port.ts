/**
 * Ports between this thread and one whose loop never returns to the runtime: what is posted lies there until the other thread takes it. Bytes
 * are copied, so whoever posts a secret wipes his.
 */
import { MessageChannel, type MessagePort, receiveMessageOnPort } from "node:worker_threads";

/** ThreadPort is one end; it goes to the other thread in what `startThread` hands over. */
export type ThreadPort = MessagePort;

/** threadPorts makes both ends. */
export function threadPorts(): readonly [ours: ThreadPort, theirs: ThreadPort] {
  const { port1, port2 } = new MessageChannel();
  return [port1, port2];
}

/** takeMessage returns the next message without waiting; undefined when none is there. */
export function takeMessage<T>(port: ThreadPort): T | undefined {
  return (receiveMessageOnPort(port) as { readonly message: T } | undefined)?.message;
}

/** hearMessages calls `hear` for each message from the event loop, until the port is closed. */
export function hearMessages<T>(port: ThreadPort, hear: (message: T) => void): void {
  port.on("message", hear);
}
