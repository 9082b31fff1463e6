/** What binds stored pages to the model that computed them: another file, or other row formats, and
 *  nothing is found. */
import type { GgufFile } from "../../gguf/types.ts"
import type { Config } from "../../model/config.ts"
import { kvSizes } from "../../model/kv-cache.ts"
import type { Backend } from "../../ops/backend.ts"
import { FORMAT } from "./format.ts"

/** Bytes read in the middle of every tensor. */
const SAMPLE_BYTES = 4096

/** 64 hexadecimal digits: SHA-256 of the file's head (metadata and tensor table), its size, 4 KiB from
 *  the middle of each tensor, the backend and its row formats, and our format. Of the full model that is
 *  about 15 MiB of 81 GiB, so it does not tell apart files that differ elsewhere only. */
export function modelFingerprint(file: GgufFile, c: Config, backend: Backend): string {
  const { source } = file
  const rows = [
    backend.kvRowBytes(c.headDim, c.ropeDim),
    backend.indexRowBytes(c.indexHeadDim),
    kvSizes(c, backend).pageBytes,
    kvSizes(c, backend).resumePointBytes,
  ]
  const hash = new Bun.CryptoHasher("sha256")
  hash.update(`ds4 model ${FORMAT} ${backend.name} ${rows.join(" ")} ${source.size}\n`)
  hash.update(source.bytes(0, file.dataStart))
  for (const { offset, bytes } of file.tensors.values()) {
    const length = Math.min(bytes, SAMPLE_BYTES)
    hash.update(source.bytes(offset + Math.floor((bytes - length) / 2), length))
  }
  return hash.digest("hex")
}
