import { expect, test } from "bun:test";
import { isErrno, SystemError } from "./errno.ts";

test("a TUN queue whose device was removed is known by name, though the runtime has none for it", () => {
  const error = new SystemError("ioctl", 77);
  expect(isErrno(error, "EBADFD", "ENODEV")).toBe(true);
  expect(error.message).toBe("ioctl: the device was removed (EBADFD)");
});
