/** TLS 1.3 over TCP, both sides. */
export {
  hashOfKey,
  type HttpProxy,
  type TlsConnectOptions,
  type TlsTrust,
  connectTls,
} from "./tls-connect.ts";
export { listenTls, type TlsListening, type TlsListenOptions } from "./tls-listener.ts";
export { type TlsEvents, TlsStream } from "./tls-stream.ts";
