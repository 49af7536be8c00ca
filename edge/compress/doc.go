// Package compress gives answers a content coding (RFC 9110 §8.4): it says which coding a client
// wants, whether an answer may and should have one, what becomes of the answer's head by it, and
// codes bodies, whole ones and ones that stream.
//
// It knows no connection, no request and no store. Whoever has an answer asks in this order:
//
//  1. [Head]: shown the field lines of the answer without a coding, it says whether there is a
//     coded form of it at all. If so, every form of the answer varies by Accept-Encoding.
//  2. [Accepts]: shown the client's Accept-Encoding, it says which form the client gets.
//  3. [Head.Coded]: what each field line becomes in the coded form.
//  4. [Coding.Append] for a body at hand, [NewReader] for one that is still to come.
//
// # What it costs
//
// An encoder holds 1 to 2.3 MiB, from the first byte of a body to its last ([Reader]) or for one
// call ([Coding.Append]), and starts no goroutine. Encoders are pooled, and what is not in use is given
// up by the garbage collector. How many are in use at a time is for the caller to bound.
package compress
