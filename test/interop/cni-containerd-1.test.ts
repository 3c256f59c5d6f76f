import { containerdSuite } from "../support/containerd-suite.ts";

containerdSuite({ major: 1, version: "1.6", result: "1.0.0" });
