// How the shell cuts words of any number of bytes out of bus beats.
package shell_pkg;
  function automatic int unsigned gcd(int unsigned a, int unsigned b);
    while (b != 0) begin
      int unsigned rest = a % b;
      a = b;
      b = rest;
    end
    return a;
  endfunction

  // Bytes of the pieces that a beat is handled in: a power of two, no smaller than a word if the beat allows it, so that
  // a piece a cycle is enough for a word a cycle.
  function automatic int unsigned piece_bytes(int unsigned word_bytes, int unsigned bus_bytes);
    int unsigned size = 1;
    while (size < word_bytes && size < bus_bytes) size = 2 * size;
    return size;
  endfunction
endpackage
