/** Where sealed frames go, and where they come from. UDP sockets are such; AF_XDP sockets will be. */

/** FrameSink takes frames for endpoints and sends them when it is flushed. */
export interface FrameSink {
  /** Whether frames wait that the system did not take. */
  readonly blocked: boolean;
  /**
   * frame returns where to put a frame of so many bytes for the endpoint whose memory is at `endpoint`; 0 when there is no room before a
   * `flush`. The frame must be whole when `flush` is called.
   */
  frame(endpoint: number, bytes: number): number;
  /** flush sends all frames; false when the system takes no more now: call it again when it can. */
  flush(): boolean;
}

/** MessageSource has messages that came. Each is one datagram, or several that lie behind each other. */
export interface MessageSource {
  /** at is the offset of a message. */
  at(index: number): number;
  /** bytes is its length; 0 for one that must not be used. */
  bytes(index: number): number;
  /** segmentBytes is the length of each datagram in it but the last, which may be shorter; at least 1. */
  segmentBytes(index: number): number;
}
