/** `causeway version`. */
import { VERSION } from "../sys/mod.ts";
import { type Command, withJson } from "./command.ts";
import { printJson, printText } from "./output.ts";

export const version: Command = {
  name: "version",
  about: "Print the version",
  options: withJson(),
  async run(given) {
    if (given.flag("json")) return printJson({ version: VERSION });
    printText(`causeway ${VERSION}\n`);
    return 0;
  },
};
