/** QR codes on a terminal. */
import { renderUnicodeCompact } from "uqr";

/** Around the code, in modules (ISO/IEC 18004, 9.1). */
const MARGIN = 4;

/**
 * qrText returns a configuration as a QR code, without its comments, which would make it larger. Light modules are drawn and dark ones
 * left out, as fits a dark terminal; readers take the inverse too.
 */
export function qrText(configuration: string): string {
  const lines = configuration.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return `${renderUnicodeCompact(`${lines.join("\n")}\n`, { border: MARGIN })}\n`;
}
