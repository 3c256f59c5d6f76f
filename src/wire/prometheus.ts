/** Prometheus' text format, version 0.0.4 (https://prometheus.io/docs/instrumenting/exposition_formats/): a line for each number, in order. */

/** PrometheusText gathers numbers. Who puts them says what is in labels: nothing secret is. */
export class PrometheusText {
  readonly #prefix: string;
  readonly #labels: Readonly<Record<string, string>>;
  readonly #lines: string[] = [];

  /** `prefix` begins each name, and `labels` stand at each number. */
  constructor(prefix: string, labels: Readonly<Record<string, string>> = {}) {
    this.#prefix = prefix;
    this.#labels = labels;
  }

  /** put adds a number; characters that end a label become `_`. */
  put(name: string, labels: Readonly<Record<string, string>>, value: number | bigint): void {
    const text = Object.entries({ ...this.#labels, ...labels })
      .map(([key, label]) => `${key}="${label.replaceAll(/["\\\p{C}]/gu, "_")}"`)
      .join(",");
    this.#lines.push(`${this.#prefix}${name}${text === "" ? "" : `{${text}}`} ${value}\n`);
  }

  /** text returns all lines. */
  text(): string {
    return this.#lines.sort().join("");
  }
}
