/* CUDA's types of numbers, those that the backend names. */
#pragma once
enum cudaDataType { CUDA_R_32F = 0, CUDA_R_16BF = 14 };
