/** Who may talk to the server. A page in a browser must not reach a model on loopback, neither by its own
 *  name that resolves here (Host) nor from another site (Origin). */
import { timingSafeEqual } from "node:crypto"
import { HttpError } from "./errors.ts"

export interface Access {
  host: string
  apiKey: string | undefined
}

const LOOPBACK = ["localhost", "127.0.0.1", "[::1]", "::1"]

export const isLoopback = (host: string): boolean => LOOPBACK.includes(host)

/** @throws HttpError 401 or 403 */
export function checkAccess(request: Request, access: Access): void {
  checkHost(request.headers.get("host") ?? "", access)
  checkOrigin(request.headers, access)
  const path = new URL(request.url).pathname
  if (access.apiKey === undefined || path === "/health" || path === "/") return
  if (!sameText(keyOf(request.headers), access.apiKey))
    throw new HttpError(
      401,
      "The API key is missing or wrong (Authorization: Bearer, or x-api-key)",
      {
        code: "invalid_api_key",
        headers: { "www-authenticate": "Bearer" },
      },
    )
}

/** Behind a key any name is fine: proxies and other machines have theirs. */
function checkHost(header: string, { host, apiKey }: Access): void {
  const name = header.replace(/:\d+$/, "").toLowerCase()
  if (apiKey !== undefined || isLoopback(name) || name === host.toLowerCase()) return
  throw new HttpError(
    403,
    `This server does not answer for the host "${name}": name it with --host, or give an --api-key`,
    {
      code: "forbidden_host",
    },
  )
}

/** Requests that a browser makes for another site carry its origin. */
function checkOrigin(headers: Headers, { host }: Access): void {
  const origin = headers.get("origin")
  if (origin === null) return
  const url = URL.canParse(origin) ? new URL(origin) : null
  const own = url && url.host === headers.get("host")
  if (own && (isLoopback(url.hostname) || url.hostname === host)) return
  throw new HttpError(403, `Requests from ${origin} are not allowed`, { code: "forbidden_origin" })
}

function keyOf(headers: Headers): string {
  const bearer = headers.get("authorization")?.match(/^Bearer\s+(.*)$/i)?.[1]
  return bearer ?? headers.get("x-api-key") ?? ""
}

/** Comparison in a time that depends on lengths only. */
function sameText(a: string, b: string): boolean {
  const [x, y] = [Buffer.from(a), Buffer.from(b)]
  return x.length === y.length && timingSafeEqual(x, y)
}
