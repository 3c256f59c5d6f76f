/** Passwords in files, as those of BGP sessions are: the first line of a file that only its owner may read. */
import { fileMode, readText } from "./file.ts";
import { MD5_KEY_BYTES } from "./tcp-md5.ts";

/** readPasswordFile returns a password of 1 to 80 bytes; throws with the path, and never with the password, for one that cannot be used. */
export function readPasswordFile(path: string): Uint8Array {
  const content = readText(path);
  if (content === undefined) throw new Error(`there is no password file ${path}; make it, with mode 0600`);
  if ((fileMode(path) & 0o077) !== 0)
    throw new Error(`password file ${path} can be read by others; run: chmod 600 ${path}`);
  const password = new TextEncoder().encode(content.split("\n")[0]);
  if (password.length < 1 || password.length > MD5_KEY_BYTES)
    throw new Error(
      `password file ${path} has a first line of ${password.length} bytes; write 1 to ${MD5_KEY_BYTES}`,
    );
  return password;
}
