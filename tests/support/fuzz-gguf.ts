/** Mutations of a small GGUF file: bits, bytes, length fields, splices, cuts. Each result must be read,
 *  or refused by a typed error, quickly. The tests run some, scripts/fuzz-gguf.ts as many as asked. */
import { Ds4Error } from "../../src/errors.ts"
import { readGguf } from "../../src/gguf/reader.ts"
import { bytesSource } from "../../src/gguf/source.ts"
import { GgufWriter } from "../../src/gguf/writer.ts"
import { readConfig } from "../../src/model/config.ts"
import { tinyModel } from "../../src/tools/synthetic.ts"

export interface FuzzReport {
  runs: number
  accepted: number
  refused: number
  /** Anything but acceptance and a typed error: what was done, and what was thrown. */
  wrong: string[]
  slowestMs: number
}

/** A seeded generator of whole numbers below n. */
export function randomBelow(seed: number): (n: number) => number {
  let x = seed >>> 0 || 1
  return (n) => {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    return (x >>> 0) % n
  }
}

/** The header of a tiny model with its keys and tensors, small enough to be mutated often: vocabulary
 *  arrays are cut to a few entries, tensors to one block row each. */
export function smallFile(): Uint8Array {
  const { metadata } = readGguf(bytesSource(tinyModel(), "tiny"))
  const writer = new GgufWriter()
  for (const [key, value] of metadata) {
    if (value.type === "arr") writer.setArray(key, value.elem, value.values().slice(0, 16))
    else writer.set(key, value.type, value.value)
  }
  for (const type of ["F32", "F16", "Q8_0", "Q2_K", "Q4_K", "IQ2_XXS", "MXFP4", "I32"] as const)
    writer.tensor(`blk.0.${type}.weight`, type, [256, 2])
  return writer.toBytes()
}

/** Values that length and count fields like least. */
const NASTY = [
  0n,
  1n,
  255n,
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 40n,
  2n ** 53n + 1n,
  2n ** 62n,
  2n ** 64n - 1n,
]

function mutate(
  original: Uint8Array,
  below: (n: number) => number,
): { bytes: Uint8Array; what: string } {
  const kind = below(6)
  if (kind === 0) {
    const at = below(original.length)
    return { bytes: original.subarray(0, at), what: `cut at ${at}` }
  }
  const bytes = original.slice()
  const at = below(Math.max(bytes.length - 8, 1))
  const view = new DataView(bytes.buffer)
  if (kind === 1) bytes[at]! ^= 1 << below(8)
  else if (kind === 2) bytes[at] = below(256)
  else if (kind === 3) view.setBigUint64(at, NASTY[below(NASTY.length)]!, true)
  else if (kind === 4) view.setUint32(at, below(2) ? below(64) : 0xffffffff - below(3), true)
  else bytes.copyWithin(at, below(bytes.length), below(bytes.length))
  return { bytes, what: `kind ${kind} at ${at}` }
}

/** Runs `runs` mutations from a seed. */
export function fuzzGguf(runs: number, seed: number): FuzzReport {
  const original = smallFile()
  const below = randomBelow(seed)
  const report: FuzzReport = { runs, accepted: 0, refused: 0, wrong: [], slowestMs: 0 }
  for (let i = 0; i < runs; i++) {
    let { bytes, what } = mutate(original, below)
    for (let more = below(3); more > 0 && bytes.length > 16; more--) {
      const next = mutate(bytes, below)
      bytes = next.bytes
      what += `, ${next.what}`
    }
    const start = performance.now()
    try {
      const file = readGguf(bytesSource(bytes, "fuzz"))
      for (const value of file.metadata.values()) if (value.type === "arr") value.values()
      readConfig(file.metadata)
      report.accepted++
    } catch (error) {
      if (error instanceof Ds4Error) report.refused++
      else report.wrong.push(`run ${i} of seed ${seed} (${what}): ${error}`)
    }
    report.slowestMs = Math.max(report.slowestMs, performance.now() - start)
  }
  return report
}
