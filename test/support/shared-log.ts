/** A log as that of several hubs, which only a register with such a log may have; it writes to this register alone. */
import { type LogState, NoLog } from "../../src/hub/register-log.ts";

/** SharedLog says that it is in etcd. */
export class SharedLog extends NoLog {
  override state(): LogState {
    return { kind: "etcd", position: 0 };
  }
}
