// A nonce: names one act of locking, so that a resend is known again.

/** 32 random hexadecimal digits. `randomUUID` is missing where a page comes without TLS. */
export function nonce() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
