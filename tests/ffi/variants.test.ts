import { describe, expect, test } from "bun:test"
import { CASES, N_ROWS, runCase } from "./cases.ts"
import { ISAS } from "./machine.ts"

/** Cuts of the rows into steps. */
const WHOLE = [N_ROWS]
const SINGLE = Array.from({ length: N_ROWS }, () => 1)
const UNEVEN = [1, 5, 3, N_ROWS - 9]

describe.each(Object.keys(CASES))("%s", (name) => {
  const expected = runCase(name, ISAS[0]!, 1, WHOLE)

  test("gives the same bits on every instruction set", () => {
    for (const isa of ISAS.slice(1)) expect(runCase(name, isa, 1, WHOLE)).toEqual(expected)
  })

  test("gives a row the same bits alone as among others", () => {
    const isa = ISAS.at(-1)!
    expect(runCase(name, isa, 1, SINGLE)).toEqual(expected)
    expect(runCase(name, isa, 1, UNEVEN)).toEqual(expected)
  })

  test("gives the same bits with more threads", () => {
    for (const threads of [2, 3]) {
      expect(runCase(name, ISAS.at(-1)!, threads, WHOLE)).toEqual(expected)
      expect(runCase(name, ISAS.at(-1)!, threads, UNEVEN)).toEqual(expected)
    }
  })
})
