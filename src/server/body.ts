/** Bodies of requests: read within limits of bytes and time, then as JSON whose order and digits are
 *  kept, because the model sees parts of it. */
import { gunzipSync, zstdDecompressSync } from "node:zlib"
import { type Json, parseJson, toPlain } from "../chat/index.ts"
import { badRequest, HttpError } from "./errors.ts"

export const MAX_BODY_BYTES = 32 * 2 ** 20
/** A little more than a prompt of ids that fills the longest context has. */
const MAX_VALUES = 2 ** 20 + 2 ** 17

/** A JSON object: as a tree, and as plain values. */
export interface Body {
  tree: Map<string, Json>
  plain: Record<string, unknown>
  /** Whether a field that nobody knows is an error. */
  strict: boolean
}

/** @param patienceS seconds that a client may take to send it
 *  @throws HttpError 400, 408, 413 or 415 */
export async function readBody(
  request: Request,
  strict: boolean,
  patienceS: number,
): Promise<Body> {
  const text = decode(
    unpack(await bytesOf(request, patienceS), request.headers.get("content-encoding")),
  )
  let tree: Json
  try {
    tree = parseJson(text, MAX_VALUES)
  } catch (error) {
    throw badRequest(`The body is not JSON: ${(error as Error).message}`)
  }
  if (!(tree instanceof Map)) throw badRequest("The body must be a JSON object")
  // A field that is null is absent.
  for (const [name, value] of tree) if (value === null) tree.delete(name)
  return { tree, plain: toPlain(tree) as Record<string, unknown>, strict }
}

async function bytesOf(request: Request, patienceS: number): Promise<Uint8Array> {
  let timer: Timer | undefined
  const late = new Promise<never>((_, reject) => {
    const error = new HttpError(408, `The body did not arrive within ${patienceS} s`, {
      headers: { connection: "close" },
    })
    timer = setTimeout(() => reject(error), 1000 * patienceS)
  })
  const whole = request.arrayBuffer().catch(() => {
    throw badRequest("The body broke off") // heard by nobody: the client has gone
  })
  try {
    return new Uint8Array(await Promise.race([whole, late]))
  } finally {
    clearTimeout(timer)
  }
}

function unpack(bytes: Uint8Array, encoding: string | null): Uint8Array {
  const limit = { maxOutputLength: MAX_BODY_BYTES }
  try {
    switch (encoding?.toLowerCase() ?? "identity") {
      case "identity":
        return bytes
      case "gzip":
        return gunzipSync(bytes, limit)
      case "zstd":
        return zstdDecompressSync(bytes, limit)
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE")
      throw new HttpError(413, `The body unpacks to more than ${MAX_BODY_BYTES} bytes`)
    throw badRequest(`The body is not ${encoding}`)
  }
  throw new HttpError(415, `Content-Encoding ${encoding} is not supported; use gzip or zstd`)
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes)
  } catch {
    throw badRequest("The body is not UTF-8")
  }
}
