/** rmsNorm, swiglu and add. */
import { type Case, output } from "./case.ts"
import type { Bound } from "./compare.ts"
import type { Fixture } from "./fixture.ts"
import { HOSTILE_ROWS, hostileRows } from "./matmul.ts"

const NORM: Bound = { atol: 1e-36, rtol: 2e-6, why: "a sum of squares in f32 lanes" }
const SWIGLU: Bound = { atol: 1e-36, rtol: 1e-6, why: "our own exp in f32" }
const SWIGLU_EDGE: Bound = {
  atol: 1e-30,
  rtol: 1e-6,
  why: "e^100 is beyond f32, and e^-100 is tiny",
}

export function elementwiseCases(): Case[] {
  return [
    norm("1 row of 256", 1, 256, true),
    norm("33 rows of 128, no weight", 33, 128, false),
    norm("17 rows of 83", 17, 83, true),
    norm("2 rows of 4096", 2, 4096, true),
    norm("64 heads of 512", 64, 512, false),
    normInPlace(),
    normHostile(),
    swiglu(1),
    swiglu(1003),
    swiglu(17 * 2048),
    swigluEdges(),
    add(),
    notFinite(),
  ]
}

function norm(name: string, nRows: number, dim: number, weighted: boolean): Case {
  return {
    op: "rmsNorm",
    name,
    run(f) {
      const x = f.normals([nRows, dim], 3)
      const w = weighted ? f.normals([dim]) : null
      const out = f.tensor("F32", nRows, dim)
      f.ops.rmsNorm(out, x, w, 1e-6)
      return [output(f, "out", out, NORM)]
    },
  }
}

function normInPlace(): Case {
  return {
    op: "rmsNorm",
    name: "in place, heads as rows",
    run(f) {
      const x = f.normals([5, 4, 128])
      f.ops.rmsNorm(x, x, f.normals([128]), 1e-6)
      return [output(f, "out", x, NORM)]
    },
  }
}

function normHostile(): Case {
  return {
    op: "rmsNorm",
    name: "zeros, tiny and large numbers",
    run(f) {
      const values = hostileRows(f, 256).map((v) => (Math.abs(v) > 1e6 ? v / 1e14 : v))
      const out = f.tensor("F32", HOSTILE_ROWS, 256)
      f.ops.rmsNorm(out, f.floats([HOSTILE_ROWS, 256], values), null, 1e-6)
      return [output(f, "out", out, NORM)]
    },
  }
}

function swiglu(n: number): Case {
  return {
    op: "swiglu",
    name: `${n} elements`,
    run(f) {
      const [gate, up, out] = [f.normals([n], 5), f.normals([n], 5), f.tensor("F32", n)]
      f.ops.swiglu(out, gate, up, 7)
      f.ops.swiglu(gate, gate, up, 7)
      return [output(f, "out", out, SWIGLU), output(f, "in place", gate, SWIGLU)]
    },
  }
}

function swigluEdges(): Case {
  return {
    op: "swiglu",
    name: "at and beyond the clamp, zeros, tiny and huge numbers",
    run(f) {
      const edge = [0, -0, 10, -10, 10.5, -10.5, 1e-41, -1e-41, 1e30, -1e30, -80, -100, 0.5]
      const gate = edge.flatMap((g) => edge.map(() => g))
      const up = edge.flatMap(() => edge)
      const out = f.tensor("F32", gate.length)
      f.ops.swiglu(out, f.floats([gate.length], gate), f.floats([gate.length], up), 10)
      return [output(f, "out", out, SWIGLU_EDGE)]
    },
  }
}

function add(): Case {
  return {
    op: "add",
    name: "1003 elements, also in place, huge and tiny ones among them",
    run(f) {
      const n = 1003
      const odd = (values: Float32Array) => {
        values.set([0, -0, 1e30, -1e30, 1e-41, 1e-41, 3.4e38])
        return f.floats([n], values)
      }
      const [a, b] = [odd(f.rand.normals(n)), odd(f.rand.normals(n).reverse())]
      const out = f.tensor("F32", n)
      f.ops.add(out, a, b)
      f.ops.add(a, a, b)
      f.ops.add(b, b, b)
      return [out, a, b].map((t, i) => output(f, ["out", "a", "b"][i]!, t, "exact"))
    },
  }
}

const notNumbers = (f: Fixture) => {
  const x = f.rand.normals(64)
  x.set([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY], 3)
  return f.floats([2, 32], x)
}

function notFinite(): Case {
  return {
    op: "add",
    name: "NaN and infinity, here and in swiglu and rmsNorm",
    run(f) {
      const [x, y, out] = [notNumbers(f), notNumbers(f), f.tensor("F32", 2, 32)]
      const [h, n] = [f.tensor("F32", 2, 32), f.tensor("F32", 2, 32)]
      f.ops.add(out, x, y)
      f.ops.swiglu(h, x, y, 10)
      f.ops.rmsNorm(n, x, null, 1e-6)
      return [output(f, "add", out, "exact"), output(f, "h", h, "any"), output(f, "n", n, "any")]
    },
  }
}
