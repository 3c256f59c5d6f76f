import { containerdSuite } from "../support/containerd-suite.ts";

containerdSuite({ major: 2, version: "2.", result: "1.1.0" });
