/** The page at `/`: one document with its style and script inside, allowed to talk to this server only. */
import type { PageParts } from "./page-parts.ts"

let made: Promise<Response> | undefined

/** Made at the first request: bundling the script takes a moment in a checkout. */
export async function page(): Promise<Response> {
  made ??= import("./page-content.ts").then(({ PAGE }) => responseOf(PAGE))
  return (await made).clone()
}

function responseOf({ document, style, script }: PageParts): Response {
  const code = script.trim().replaceAll("</script", "<\\/script")
  const html = document
    .replace("<!-- style -->", () => `<style>${style}</style>`)
    .replace("<!-- script -->", () => `<script type="module">${code}</script>`)
  return new Response(html, {
    headers: {
      "content-type": "text/html; charset=utf-8",
      "content-security-policy": [
        "default-src 'none'",
        "connect-src 'self'",
        "img-src data:",
        `script-src '${hashOf(code)}'`,
        `style-src '${hashOf(style)}'`,
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
      ].join("; "),
      "referrer-policy": "no-referrer",
      "x-content-type-options": "nosniff",
    },
  })
}

const hashOf = (text: string) =>
  `sha256-${new Bun.CryptoHasher("sha256").update(text).digest("base64")}`
