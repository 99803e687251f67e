// The flip-flops of a slice. Source: AMD UG953, design elements FDRE, FDSE, FDCE and FDPE.

module FDRE #(
    parameter bit INIT = 0
) (
    input C, CE, D, R,
    output logic Q = INIT
);
  always @(posedge C) if (R) Q <= 1'b0; else if (CE) Q <= D;
endmodule

module FDSE #(
    parameter bit INIT = 1
) (
    input C, CE, D, S,
    output logic Q = INIT
);
  always @(posedge C) if (S) Q <= 1'b1; else if (CE) Q <= D;
endmodule

module FDCE #(
    parameter bit INIT = 0
) (
    input C, CE, D, CLR,
    output logic Q = INIT
);
  always @(posedge C or posedge CLR) if (CLR) Q <= 1'b0; else if (CE) Q <= D;
endmodule

module FDPE #(
    parameter bit INIT = 1
) (
    input C, CE, D, PRE,
    output logic Q = INIT
);
  always @(posedge C or posedge PRE) if (PRE) Q <= 1'b1; else if (CE) Q <= D;
endmodule
