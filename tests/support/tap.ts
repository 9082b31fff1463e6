/** Tap files: named stages of an independent engine, by layer and position. A record is "TAP1",
 *  name[24], i32 layer, i32 pos, i32 is_int, i32 n, then n numbers. */
import { readFileSync } from "node:fs"

export class Taps {
  readonly #records = new Map<string, Float32Array | Int32Array>()
  readonly positions: number[] = []

  constructor(path: string) {
    const file = readFileSync(path)
    const bytes = file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength)
    const view = new DataView(bytes)
    const seen = new Set<number>()
    for (let at = 0; at < bytes.byteLength;) {
      const name = file.toString("latin1", at + 4, at + 28).replace(/\0.*$/s, "")
      const [layer, pos, isInt, n] = [28, 32, 36, 40].map((o) => view.getInt32(at + o, true))
      const data = bytes.slice(at + 44, at + 44 + 4 * n!)
      this.#records.set(
        `${name}.${layer}.${pos}`,
        isInt ? new Int32Array(data) : new Float32Array(data),
      )
      seen.add(pos!)
      at += 44 + 4 * n!
    }
    this.positions.push(...[...seen].sort((a, b) => a - b))
  }

  maybe(name: string, layer: number, pos: number): Float32Array | Int32Array | undefined {
    return this.#records.get(`${name}.${layer}.${pos}`)
  }

  f32(name: string, layer: number, pos: number): Float32Array {
    const x = this.maybe(name, layer, pos)
    if (!(x instanceof Float32Array)) throw new Error(`no stage ${name} of layer ${layer}, ${pos}`)
    return x
  }

  i32(name: string, layer: number, pos: number): Int32Array {
    const x = this.maybe(name, layer, pos)
    if (!(x instanceof Int32Array)) throw new Error(`no stage ${name} of layer ${layer}, ${pos}`)
    return x
  }
}
