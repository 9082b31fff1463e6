/** Float32 files that appear whole or not at all: written under another name, then renamed. */
import { closeSync, existsSync, openSync, renameSync, rmSync, statSync, writeSync } from "node:fs"
import { CliError } from "../errors.ts"

export class FloatFile {
  readonly #path: string
  readonly #partial: string
  readonly #fd: number

  /** @throws CliError if the file cannot be made. */
  constructor(path: string) {
    this.#path = path
    // A device or a pipe is written as it is.
    const replaced = !existsSync(path) || statSync(path).isFile()
    this.#partial = replaced ? `${path}.part` : path
    try {
      this.#fd = openSync(this.#partial, "w")
    } catch (e) {
      throw new CliError(`Cannot write ${path}: ${(e as Error).message}`)
    }
  }

  /** Writes floats at an index counted in floats. */
  write(index: number, values: Float32Array): void {
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
    try {
      for (let done = 0; done < bytes.length;)
        done += writeSync(this.#fd, bytes, done, bytes.length - done, 4 * index + done)
    } catch (e) {
      throw new CliError(`Cannot write ${this.#path}: ${(e as Error).message}`)
    }
  }

  /** Gives the file its name. */
  finish(): void {
    closeSync(this.#fd)
    if (this.#partial !== this.#path) renameSync(this.#partial, this.#path)
  }

  /** Leaves nothing behind. */
  discard(): void {
    closeSync(this.#fd)
    if (this.#partial !== this.#path) rmSync(this.#partial, { force: true })
  }
}
