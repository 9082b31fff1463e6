/** The conformance table on the CPU, with every instruction set of this machine. */
import { describe, expect, test } from "bun:test"
import { OP_NAMES } from "../../ffi/ops.gen.ts"
import { conformanceCases, nameOf, runConformance } from "../../src/ops/conformance/index.ts"
import { openCpu } from "../../src/ops/native.ts"
import { openReference } from "../../src/ops/reference/index.ts"
import { ISAS } from "../ffi/machine.ts"

const cases = conformanceCases()

test("names of cases are unique, and every op has cases", () => {
  expect(new Set(cases.map(nameOf)).size).toBe(cases.length)
  expect(OP_NAMES.filter((op) => !cases.some((c) => c.op === op))).toEqual([])
})

describe.each(ISAS)("cpu, %s", (isa) => {
  test.each([...OP_NAMES])(
    "%s()",
    (op) => {
      const cpu = openCpu({ isa })
      const { failures, passed } = runConformance(cpu, { filter: (c) => c.op === op })
      cpu.close()
      expect(failures).toEqual([])
      expect(passed).toBeGreaterThan(0)
    },
    60_000,
  )
})

describe("a wrong backend is found out", () => {
  const reference = openReference()
  const { kernels } = reference
  const small = (op: string) => (c: { op: string; name: string }) =>
    c.op === op && !/4096|2048|16384|512|33 rows, 6/.test(c.name)
  type Kernel = (...args: unknown[]) => void

  function failuresWith(op: (typeof OP_NAMES)[number], kernel: Kernel): number {
    const wrong = { ...reference, kernels: { ...kernels, [op]: kernel } }
    return runConformance(wrong, { filter: small(op) }).failed
  }

  test.each([...OP_NAMES])("%s() that does as the reference, or nothing", (op) => {
    expect(failuresWith(op, kernels[op] as Kernel)).toBe(0)
    expect(failuresWith(op, () => {})).toBeGreaterThan(0)
  })

  const changes: [(typeof OP_NAMES)[number], string, number, (v: number) => number][] = [
    ["rmsNorm", "eps", 5, (v) => 10 * v],
    ["ropeTable", "ratio", 5, (v) => v + 1],
    ["ropeTail", "inverse", 6, (v) => 1 - v],
    ["hcSplit", "eps", 9, (v) => 100 * v],
    ["hcHeadWeights", "eps", 6, (v) => 100 * v],
    ["attend", "window", 14, (v) => v + 1],
    ["attend", "scale", 21, (v) => v * 1.0001],
    ["indexTopK", "scale", 18, (v) => v * 1.001],
    ["routerTopK", "scale", 7, (v) => v * 1.0001],
    ["expertsGateUp", "clamp", 12, (v) => v * 1.01],
    ["swiglu", "clamp", 4, (v) => v * 1.001],
  ]
  test.each(changes)("%s() with another %s", (op, _, at, change) => {
    const kernel = kernels[op] as Kernel
    const changed = (...args: unknown[]) => kernel(...args.with(at, change(args[at] as number)))
    expect(failuresWith(op, changed)).toBeGreaterThan(0)
  })
})
