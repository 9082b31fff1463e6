import { GgufError } from "../errors.ts"

const MAGIC = 0x46554747 // "GGUF"
const OLD_MAGICS = new Set(["ggml", "ggjt", "ggla", "ggmf", "lmgg", "tjgg", "algg", "fmgg"])

/** Refuses what is no little-endian GGUF of version 3, and says what it is instead. People put web
 *  pages, Git LFS pointers, archives and other model formats in place of a model. */
export function checkMagic(head: Uint8Array, fileName: string): void {
  const refuse = (what: string): never => {
    throw new GgufError(`${fileName} is ${what}, not a GGUF model`, 0)
  }
  if (head.byteLength === 0) refuse("an empty file")
  const text = new TextDecoder("latin1").decode(head.subarray(0, 256))
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength)
  if (text.startsWith("FUGG")) throw bigEndian(fileName)
  if (head.byteLength < 4 || view.getUint32(0, true) !== MAGIC) refuse(foreignKind(text))
  if (head.byteLength < 8) {
    const state = `${fileName} ends after ${head.byteLength} bytes`
    throw new GgufError(`${state}: the file is cut off or damaged`, head.byteLength)
  }
  const version = view.getUint32(4, true)
  if (version === 3) return
  if (view.getUint32(4, false) <= 3 && version !== 0) throw bigEndian(fileName)
  throw new GgufError(`${fileName} is a GGUF of version ${version}; ds4 reads version 3`, 4)
}

function bigEndian(fileName: string): GgufError {
  return new GgufError(`${fileName} is a big-endian GGUF; ds4 reads little-endian files`, 0)
}

function foreignKind(text: string): string {
  const start = text.trimStart().toLowerCase()
  if (start.startsWith("version https://git-lfs"))
    return "a Git LFS pointer (fetch the file itself with `git lfs pull`)"
  if (start.startsWith("<!doctype") || start.startsWith("<html") || start.startsWith("<?xml"))
    return "an HTML page (the download answered with a web page)"
  if (text.startsWith("PK\x03\x04")) return "a ZIP archive (or a PyTorch checkpoint)"
  if (text.startsWith("\x1f\x8b")) return "a gzip archive"
  if (text.startsWith("\x28\xb5\x2f\xfd")) return "a zstd archive"
  if (OLD_MAGICS.has(text.slice(0, 4))) return "a model of the old ggml format"
  if (text[8] === "{" && text.slice(4, 8) === "\0\0\0\0") return "a safetensors file"
  if (start.startsWith("{") || start.startsWith("[")) return "a JSON text"
  if (/^\0+$/.test(text)) return "a file that begins with zeros (a download never finished?)"
  return "some other file"
}
