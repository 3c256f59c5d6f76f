/** ExchangeCounter is what exchanges count: the leaves of `key-manager` in Vita's gateway-state, which our own protocol has as well. */
export type ExchangeCounter =
  | "protocol-errors"
  | "version-errors"
  | "parameter-errors"
  | "authentication-errors"
  | "public-key-errors"
  | "negotiations-initiated"
  | "negotiations-expired"
  | "challenges-offered"
  | "challenges-accepted"
  | "keypairs-offered"
  | "keypairs-negotiated";
