import { expect, test } from "bun:test";
import { PrometheusText } from "./prometheus.ts";

test("numbers are lines in order, and a label ends where it should", () => {
  const text = new PrometheusText("causeway_", { node: "a" });
  text.put("b", { of: 'x"} 1\ny\\' }, 2n);
  text.put("a_total", {}, 1.5);
  expect(text.text()).toBe('causeway_a_total{node="a"} 1.5\ncauseway_b{node="a",of="x_} 1_y_"} 2\n');
  const bare = new PrometheusText("");
  bare.put("up", {}, 1);
  expect(bare.text()).toBe("up 1\n");
});
