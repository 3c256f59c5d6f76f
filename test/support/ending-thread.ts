/** A thread that says so and ends. */
import { type ThreadPort, threadInput } from "../../src/sys/mod.ts";

const { port } = await threadInput<{ readonly port: ThreadPort }>();
port.postMessage("done");
port.close();
