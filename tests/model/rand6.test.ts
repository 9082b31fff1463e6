/** Two random models with every mechanism alive, against other engines (golden/README.md). They are
 *  not in the repository: these tests run where the full goldens are. */
import { describe, expect, test } from "bun:test"
import { join } from "node:path"
import { openReference } from "../../src/ops/reference/index.ts"
import { openModelFile } from "../../src/session/open.ts"
import { Runtime } from "../../src/session/runtime.ts"
import { sharedDir } from "../shared.ts"
import { forceRoutes } from "../support/forced.ts"
import { openTest, runAll } from "../support/models.ts"
import { compareLogits, maxDifference, readF32, readIds } from "../support/numbers.ts"
import { Taps } from "../support/tap.ts"

const shared = sharedDir()
const golden = (name: string) => join(shared!, "golden", name)
const VOCAB = 1536

describe.skipIf(!shared)("rand6", () => {
  for (const recipe of ["q2", "q4"]) {
    test(`reference without KV rounding, routes forced, gives the smooth logits (${recipe})`, () => {
      const ids = readIds(golden("rand6.ids.txt"))
      const routes = new Taps(golden(`rand6-${recipe}.smooth.routes.tap`))
      const file = openModelFile({ path: golden(`rand6-${recipe}.gguf`) })
      const backend = forceRoutes(openReference({ kvRounding: false }), routes, 6)
      const runtime = new Runtime(file, backend, { context: 1024 })
      const { logits } = runAll(runtime, ids, [128])
      runtime.close()
      const theirs = readF32(golden(`rand6-${recipe}.smooth.logits`))
      expect(maxDifference(logits, theirs)).toBeLessThan(1e-4)
    }, 120_000)

    test(`reference is within 0.004 and 98 % of an f32 engine (${recipe})`, () => {
      const ids = readIds(golden("rand6.ids.txt")).slice(0, 250)
      const runtime = openTest(golden(`rand6-${recipe}.gguf`), "reference")
      const { logits } = runAll(runtime, ids, [128])
      runtime.close()
      const theirs = readF32(golden(`rand6-${recipe}.f32.logits`))
      const { relative, argmax } = compareLogits(logits, theirs, VOCAB, 250)
      expect(relative).toBeLessThanOrEqual(0.004)
      expect(argmax).toBeGreaterThanOrEqual(0.98)
    }, 120_000)

    test(`cpu stays within int8 activations' error of f32 arithmetic (${recipe})`, () => {
      const ids = readIds(golden("rand6.ids.txt"))
      const runtime = openTest(golden(`rand6-${recipe}.gguf`), "cpu")
      const { logits } = runAll(runtime, ids, [128])
      runtime.close()
      const theirs = readF32(golden(`rand6-${recipe}.f32.logits`))
      const { relative, argmax } = compareLogits(logits, theirs, VOCAB, ids.length)
      expect(relative).toBeLessThanOrEqual(0.045)
      expect(argmax).toBeGreaterThanOrEqual(0.8)
    }, 60_000)
  }
})
