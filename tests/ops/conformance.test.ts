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

test("the reference agrees with itself, and a wrong backend is found out", () => {
  const reference = openReference()
  const ops = ["add", "rmsNorm", "swiglu"]
  const filter = (c: { op: string }) => ops.includes(c.op)
  expect(runConformance(reference, { filter }).failures).toEqual([])
  const kernels = { ...reference.kernels, add: reference.kernels.swiglu as never }
  const wrong = runConformance({ ...reference, kernels }, { filter })
  expect(wrong.failures.length).toBeGreaterThan(0)
  expect(wrong.failures.every((f) => f.name.startsWith("add: "))).toBe(true)
})
